import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasAgent, startAgentServer, type AgentServer } from "../testing/agent-guest.ts";
import { API_KEY } from "../testing/test-server.ts";

/** One stream of events, read as it comes. */
class EventReader implements AsyncDisposable {
  readonly status: number;
  readonly #body: AsyncIterator<Uint8Array>;
  readonly #abort: AbortController;
  readonly #arrived: EventSourceMessage[] = [];
  readonly #parser = createParser({ onEvent: (event) => void this.#arrived.push(event) });

  private constructor(response: Response, abort: AbortController) {
    this.status = response.status;
    this.#abort = abort;
    this.#body = (response.body as unknown as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  }

  static async open(agent: AgentServer, query: string, headers: Record<string, string> = {}): Promise<EventReader> {
    const abort = new AbortController();
    return new EventReader(
      await agent.server.call("GET", `${agent.sandbox}/files/watch?${query}`, { headers, signal: abort.signal }),
      abort,
    );
  }

  /** The next event; undefined at the end. */
  async next(): Promise<EventSourceMessage | undefined> {
    while (this.#arrived.length === 0) {
      const { done, value } = await this.#body.next();
      if (done === true) return undefined;
      this.#parser.feed(Buffer.from(value).toString());
    }
    return this.#arrived.shift();
  }

  /** Events up to the one that fits. */
  async until(fits: (event: EventSourceMessage) => boolean): Promise<EventSourceMessage[]> {
    const seen: EventSourceMessage[] = [];
    for (;;) {
      const event = await this.next();
      if (event === undefined) throw new Error(`ended after ${JSON.stringify(seen)}`);
      seen.push(event);
      if (fits(event)) return seen;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
  }
}

const data = (event: EventSourceMessage | undefined): Record<string, unknown> =>
  JSON.parse(event?.data ?? "null") as Record<string, unknown>;
const about = (path: string) => (event: EventSourceMessage) => data(event).path === path;

describe.skipIf(!hasAgent)("watches over a real agent", () => {
  let agent: AgentServer;
  beforeAll(async () => void (agent = await startAgentServer()));
  afterAll(() => agent[Symbol.asyncDispose]());
  let folders = 0;
  const fresh = async (): Promise<string> => {
    const folder = join(agent.folder, `watched-${(folders += 1)}`);
    await mkdir(folder);
    return folder;
  };
  const query = (folder: string, more = "") => `path=${encodeURIComponent(folder)}${more}`;

  it("tell what is created, changed, moved and deleted, in order", async () => {
    const folder = await fresh();
    await using reader = await EventReader.open(agent, query(folder));
    const ready = await reader.next();
    expect([ready?.event, ready?.id]).toEqual(["ready", `${String(data(ready).watch_id)}-0`]);
    await writeFile(join(folder, "a"), "1");
    await rename(join(folder, "a"), join(folder, "b"));
    await rm(join(folder, "b"));
    const seen = await reader.until((event) => data(event).kind === "deleted");
    expect(seen.every((event) => event.event === "change")).toBe(true);
    expect(seen.map((event) => data(event).seq)).toEqual(seen.map((_, i) => i + 1));
    expect(seen.map((event) => event.id)).toEqual(seen.map((_, i) => `${String(data(ready).watch_id)}-${i + 1}`));
    const kinds = seen.map((event) => data(event).kind);
    expect([kinds[0], kinds.at(-2), kinds.at(-1)]).toEqual(["created", "moved", "deleted"]);
    expect(data(seen.at(-2))).toMatchObject({ path: join(folder, "b"), from: join(folder, "a"), is_dir: false });
  });

  it("see into folders that are made later", async () => {
    const folder = await fresh();
    await using reader = await EventReader.open(agent, query(folder, "&recursive=true"));
    await reader.next();
    await mkdir(join(folder, "x/y"), { recursive: true });
    await writeFile(join(folder, "x/y/z"), "deep");
    expect(data((await reader.until(about(join(folder, "x/y/z")))).at(-1))).toMatchObject({ is_dir: false });
  });

  it.each(["Last-Event-ID", "after"])("go on by %s after a break of every connection, and miss nothing", async (way) => {
    const folder = await fresh();
    let last: string;
    {
      await using reader = await EventReader.open(agent, query(folder));
      await writeFile(join(folder, "before"), "");
      last = (await reader.until(about(join(folder, "before")))).at(-1)?.id ?? "";
    }
    agent.breakLink();
    for (let i = 0; i < 50; i += 1) await writeFile(join(folder, `missed-${i}`), "");
    const headers: Record<string, string> = way === "after" ? {} : { "last-event-id": last };
    await using again = await EventReader.open(agent, query(folder, way === "after" ? `&after=${last}` : ""), headers);
    const seen = await again.until(about(join(folder, "missed-49")));
    expect(seen[0]).toMatchObject({ event: "ready", id: last });
    const seqs = seen.slice(1).map((event) => Number(data(event).seq));
    expect(seqs).toEqual(seqs.map((_, i) => Number(last.split("-")[1]) + 1 + i));
    for (let i = 0; i < 50; i += 1) expect(seen.some(about(join(folder, `missed-${i}`)))).toBe(true);
  });

  it("that are gone begin anew, and say so", async () => {
    const folder = await fresh();
    await using reader = await EventReader.open(agent, query(folder), { "last-event-id": "999-5" });
    const [reset, ready] = [await reader.next(), await reader.next()];
    expect([reset?.event, ready?.event, data(ready).seq]).toEqual(["reset", "ready", 0]);
    await writeFile(join(folder, "new"), "");
    await reader.until(about(join(folder, "new")));
  });

  it("end when they are closed", async () => {
    const folder = await fresh();
    await using reader = await EventReader.open(agent, query(folder));
    const id = String(data(await reader.next()).watch_id);
    expect((await agent.server.call("DELETE", `${agent.sandbox}/files/watch/${id}`)).status).toBe(204);
    expect((await reader.until((event) => event.event !== "change")).at(-1)?.event).toMatch(/^(?:end|error)$/);
    expect(await reader.next()).toBeUndefined();
    expect((await agent.server.call("DELETE", `${agent.sandbox}/files/watch/${id}`)).status).toBe(404);
  });

  it("refuse what cannot be watched, as an ordinary error", async () => {
    const folder = await fresh();
    const code = async (more: string, headers = {}) => {
      const response = await agent.server.call("GET", `${agent.sandbox}/files/watch?${more}`, { headers });
      return [response.status, ((await response.json()) as { code: string }).code];
    };
    expect(await code(query(join(folder, "missing")))).toEqual([404, "file_not_found"]);
    expect(await code(query(folder, "&after=x"))).toEqual([400, "invalid_request"]);
    expect(await code(query(folder), { "last-event-id": "../1" })).toEqual([400, "invalid_request"]);
    expect(await code("path=relative")).toEqual([400, "invalid_request"]);
  });

  it("of 10 000 changes miss none, or name the gap", { timeout: 120_000 }, async () => {
    const folder = await fresh();
    await using reader = await EventReader.open(agent, query(folder));
    await reader.next();
    const last = join(folder, "last");
    const writing = (async () => {
      for (let i = 0; i < 10_000; i += 1) await writeFile(join(folder, `${i}`), "");
      await writeFile(last, "");
    })();
    const seen = await reader.until(about(last));
    await writing;
    let next = 1;
    let whole = true;
    for (const event of seen) {
      const said = data(event);
      if (event.event === "gap") {
        expect(said.from).toBe(next);
        whole = false;
        next = Number(said.to);
      } else {
        expect(said.seq).toBe(next);
        next += 1;
        whole &&= event.event === "change";
      }
    }
    const created = new Set(seen.filter((event) => data(event).kind === "created").map((event) => data(event).path));
    // Without a gap and an overflow, which say what to do, every file must have been told.
    expect(whole ? created.size : 10_001).toBe(10_001);
  });

  it("of a client that reads nothing hold up nobody", { timeout: 60_000 }, async () => {
    const folder = await fresh();
    const socket = connect(Number(new URL(agent.server.url).port), "127.0.0.1");
    const path = `/api/v1${agent.sandbox}/files/watch?${query(folder)}`;
    socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nx-api-key: ${API_KEY}\r\n\r\n`);
    await new Promise((resolve) => socket.once("data", resolve));
    socket.pause();
    await using reader = await EventReader.open(agent, query(folder));
    await reader.next();
    for (let i = 0; i < 2_000; i += 1) await writeFile(join(folder, `${"long".repeat(50)}${i}`), "");
    const seen = await reader.until(about(join(folder, `${"long".repeat(50)}1999`)));
    expect(seen.filter((event) => data(event).kind === "created")).toHaveLength(2_000);
    socket.destroy();
  });
});
