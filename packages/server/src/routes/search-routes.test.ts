import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { replacedSchema, searchRecordSchema, type SearchRecord } from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { hasAgent, startAgentServer, type AgentServer } from "../testing/agent-guest.ts";
import { startTestServer } from "../testing/test-server.ts";

it("a search that finds nothing for long is answered at once, and says that it goes on", async () => {
  await using server = await startTestServer({ limits: { aliveMs: 20 } });
  const sandbox = (await (await server.call("POST", "/sandboxes", { json: {} })).json()) as Awaited<
    ReturnType<typeof server.operations.get>
  >;
  const found = Promise.withResolvers<void>();
  async function* search(): ReturnType<Guest["search"]> {
    yield [];
    await found.promise;
    return { files: 1, skipped: 0, truncated: false };
  }
  const guest = { search } as unknown as Guest;
  vi.spyOn(server.operations, "withGuest").mockImplementation((_id, _operation, use) => use(guest, sandbox));
  const response = await server.call("POST", `/sandboxes/${sandbox.id}/files/search`, { json: { path: "/", pattern: "x" } });
  let text = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    if (text.split("alive").length > 3) found.resolve();
  }
  expect(text).toMatch(/^(\{"type":"alive"\}\n){3,}\{"type":"summary",.*\}\n$/);
});

describe.skipIf(!hasAgent)("over a real agent", () => {
  let agent: AgentServer;
  beforeAll(async () => {
    agent = await startAgentServer();
    await mkdir(at("src/sub"), { recursive: true });
    await writeFile(at("src/one.py"), "import os\nprint('grüße', os)\n");
    await writeFile(at("src/sub/two.py"), "import sys\n");
    await writeFile(at("src/three.txt"), "import nothing\n");
    await writeFile(at("src/binary"), "import\0");
  });
  afterAll(() => agent[Symbol.asyncDispose]());
  const at = (path: string) => join(agent.folder, path);
  const post = (way: "search" | "replace", json: object) => agent.server.call("POST", `${agent.sandbox}/files/${way}`, { json });
  const search = async (json: object): Promise<SearchRecord[]> =>
    (await (await post("search", { path: at("src"), ...json })).text())
      .trimEnd()
      .split("\n")
      .map((line) => searchRecordSchema.parse(JSON.parse(line)));
  const code = async (response: Response) => [response.status, ((await response.json()) as { code: string }).code];

  describe("a search", () => {
    it("tells matches with their places, and a summary last", async () => {
      const records = await search({ pattern: "import (\\w+)", include: ["**/*.py"] });
      const matches = records.flatMap((record) => (record.type === "match" ? [record] : []));
      expect(matches.map((match) => `${match.path} ${match.line} ${match.offset}`).toSorted()).toEqual([
        `${at("src/one.py")} 1 0`,
        `${at("src/sub/two.py")} 1 0`,
      ]);
      expect(records.at(-1)).toMatchObject({ type: "summary", matches: 2, files: 2, truncated: false });
    });

    it("counts places within a line as JavaScript does", async () => {
      const [match] = await search({ pattern: "OS", ignore_case: true, include: ["one.py"], exclude: [] }).then((all) =>
        all.filter((one) => one.type === "match" && one.line === 2),
      );
      expect(match).toMatchObject({ text: "print('grüße', os)", start: 15, end: 17 });
    });

    it("skips what is binary, and stops at its limit", async () => {
      expect((await search({ pattern: "import", fixed: true })).at(-1)).toMatchObject({ type: "summary", skipped: 1 });
      const cut = await search({ pattern: "import", limit: 1 });
      expect(cut.map((record) => record.type)).toEqual(["match", "summary"]);
      expect(cut.at(-1)).toMatchObject({ truncated: true });
    });

    it("ends when nobody wants it any more", async () => {
      const abort = new AbortController();
      const json = { path: "/usr", pattern: "e", limit: 1_000_000 };
      const response = await agent.server.call("POST", `${agent.sandbox}/files/search`, { json, signal: abort.signal });
      await expect.poll(() => agent.server.operations.running).toBe(1);
      abort.abort();
      await expect(response.text()).rejects.toThrow("aborted");
      await expect.poll(() => agent.server.operations.running).toBe(0);
    });

    it("that finds nothing has a summary alone, and one that cannot begin is an error", async () => {
      expect(await search({ pattern: "no such words" })).toMatchObject([{ type: "summary", matches: 0 }]);
      expect(await code(await post("search", { path: at("missing"), pattern: "x" }))).toEqual([404, "file_not_found"]);
      expect((await code(await post("search", { path: at("src"), pattern: "(" })))[0]).toBe(400);
      expect(await code(await post("search", { path: at("src"), pattern: "" }))).toEqual([400, "invalid_request"]);
      expect(await code(await post("search", { path: at("src"), pattern: "x", glob: "*" }))).toEqual([400, "invalid_request"]);
    });
  });

  describe("a replacement", () => {
    it("tells what it would do, does it, and leaves the rest alone", async () => {
      const wanted = { path: at("src"), pattern: "import (\\w+)", replacement: "from $1 import $$x", include: ["**/*.py"] };
      const expected = { count: 2, files: 2, truncated: false };
      const dry = replacedSchema.parse(await (await post("replace", { ...wanted, dry_run: true })).json());
      expect(dry).toMatchObject(expected);
      expect(await readFile(at("src/sub/two.py"), "utf8")).toBe("import sys\n");
      await using small = await startAgentServer({ limits: { listEntries: 1 } });
      const cut = await small.server.call("POST", `${small.sandbox}/files/replace`, { json: { ...wanted, dry_run: true } });
      expect(replacedSchema.parse(await cut.json())).toMatchObject({ count: 2, truncated: true, items: [{ count: 1 }] });
      const done = replacedSchema.parse(await (await post("replace", wanted)).json());
      expect(done.items.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
        { path: at("src/one.py"), count: 1 },
        { path: at("src/sub/two.py"), count: 1 },
      ]);
      expect(await readFile(at("src/sub/two.py"), "utf8")).toBe("from sys import $x\n");
      expect(await readFile(at("src/three.txt"), "utf8")).toBe("import nothing\n");
    });
  });
});
