import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CodeRecord } from "@caisson/contract";
import { expect, it } from "vitest";
import { startTestServer } from "../testing/test-server.ts";

it("says again and again that code which says nothing still runs, before its end and never behind it", async () => {
  await using server = await startTestServer({ limits: { aliveMs: 20 } });
  const { id } = (await (await server.call("POST", "/sandboxes", { json: {} })).json()) as { id: string };
  const response = await server.call("POST", `/sandboxes/${id}/code`, {
    json: { language: "shell", code: "until [ -e heard ]; do sleep 0.05; done; echo done", stream: true },
  });
  let text = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    if (text.split("alive").length > 2) await writeFile(join(server.root, "heard"), "");
  }
  const lines = text.trimEnd().split("\n");
  const types = lines.map((line) => (JSON.parse(line) as CodeRecord).type);
  expect(types.filter((type) => type !== "alive")).toEqual(["start", "stdout", "result", "end"]);
  expect([types[0], types.at(-1)]).toEqual(["start", "end"]);
});
