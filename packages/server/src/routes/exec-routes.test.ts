import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { execRecordSchema, execResultSchema, processSchema, type ExecRecord } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";

let server: TestServer;
let id: string;
beforeAll(async () => {
  server = await startTestServer();
  id = (await server.operations.create({})).id;
});
afterAll(() => server[Symbol.asyncDispose]());

const exec = (json: object, on = server) => on.call("POST", `/sandboxes/${id}/exec`, { json });
const run = async (json: object) => execResultSchema.parse(await (await exec(json)).json());
const records = (text: string): ExecRecord[] => {
  expect(text.endsWith("\n")).toBe(true);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => execRecordSchema.parse(JSON.parse(line)));
};
const stream = async (json: object) => records(await (await exec({ ...json, stream: true })).text());
const bytesOf = (all: ExecRecord[], name: "stdout" | "stderr"): Buffer =>
  Buffer.concat(
    all.flatMap((record) =>
      record.type === "output" && record.stream === name ? [Buffer.from(record.data, record.encoding ?? "utf8")] : [],
    ),
  );

describe("exec", () => {
  it("answers with output and exit code", async () => {
    expect(await run({ command: "echo out; echo err >&2; exit 3" })).toMatchObject({
      exit_code: 3,
      signal: null,
      stdout: "out\n",
      stderr: "err\n",
      stdout_bytes: 4,
      stdout_truncated: false,
      stdout_encoding: "utf8",
    });
  });

  it("takes argv, quotes shell arguments, and passes environment and input", async () => {
    const odd = ["a b", "it's", "$HOME", "", "*"];
    expect((await run({ command: "printf", args: ["%s|", ...odd] })).stdout).toBe(`${odd.join("|")}|`);
    expect((await run({ command: "printf '%s|'", args: odd, mode: "shell" })).stdout).toBe(`${odd.join("|")}|`);
    expect((await run({ command: "echo $GREETING; cat", env: { GREETING: "hi" }, stdin: "input ü" })).stdout).toBe("hi\ninput ü");
    expect((await run({ command: "cat", stdin_base64: Buffer.from([1, 2, 255]).toString("base64") })).stdout).toBe("AQL/");
    expect((await run({ command: "cat" })).stdout).toBe("");
    expect((await run({ command: "true", stdin: "x".repeat(4_000_000) })).exit_code).toBe(0);
  });

  it("maps signals to 128 + n", async () => {
    expect(await run({ command: "kill -TERM $$" })).toMatchObject({ exit_code: 143, signal: "TERM" });
  });

  it("cuts a long output, says so, and counts all of it", async () => {
    const result = await run({ command: "head -c 17000000 /dev/zero | tr '\\0' x; printf ü" });
    expect(result).toMatchObject({ exit_code: 0, stdout_bytes: 17_000_002, stdout_truncated: true, stdout_encoding: "utf8" });
    expect(result.stdout.length).toBe(16_777_216);
  });

  it("kills at the timeout with 408 and the last output", async () => {
    const response = await exec({ command: "echo before; sleep 60", timeout: "2s" });
    expect(response.status).toBe(408);
    expect(await response.json()).toMatchObject({
      code: "exec_timeout",
      detail: { process_id: expect.any(Number), stdout: "before\n", stderr: "" },
    });
    expect((await stream({ command: "sleep 60", timeout: "100ms" })).at(-1)).toMatchObject({
      type: "exit",
      timed_out: true,
      signal: "KILL",
    });
  });

  it("applies the configured timeouts", async () => {
    await using strict = await startTestServer({ execTimeoutMs: 100, maxExecTimeoutMs: 200 });
    const box = (await strict.operations.create({})).id;
    const at = (json: object) => strict.call("POST", `/sandboxes/${box}/exec`, { json });
    expect((await at({ command: "sleep 60" })).status).toBe(408);
    for (const timeout of ["1s", "0"]) {
      const response = await at({ command: "true", timeout });
      expect([response.status, await response.json()]).toMatchObject([400, { errors: [{ path: "timeout" }] }]);
    }
  });

  it.each([
    [{ command: "x", stdin: "a", stdin_base64: "YQ==" }, "stdin_base64"],
    [{ command: "x", stream: true, background: true }, "background"],
    [{ command: "x", stdin_open: true }, "stdin_open"],
    [{ command: "a\0b" }, "command"],
    [{ command: "a", args: ["b\0"] }, "args.0"],
    [{ command: "a", workdir: "relative" }, "workdir"],
    [{ command: "a", shell: true }, "shell"],
    [{}, "command"],
  ])("refuses %j", async (json, path) => {
    const response = await exec(json);
    expect([response.status, await response.json()]).toMatchObject([400, { code: "invalid_request", errors: [{ path }] }]);
  });

  it("answers 404 and 410 before anything runs", async () => {
    const none = await server.call("POST", "/sandboxes/sb0000000000000000000000/exec", { json: { command: "true", stream: true } });
    expect([none.status, await none.json()]).toMatchObject([404, { code: "sandbox_not_found" }]);
    const gone = await server.operations.create({});
    await server.operations.destroy(gone.id);
    const ended = await server.call("POST", `/sandboxes/${gone.id}/exec`, { json: { command: "true", stream: true } });
    expect([ended.status, await ended.json()]).toMatchObject([410, { code: "sandbox_destroyed" }]);
  });

  it("starts a background process that can be fed", async () => {
    const response = await exec({ command: "cat", background: true, stdin: "a", stdin_open: true });
    expect(response.status).toBe(202);
    expect(processSchema.parse(await response.json())).toMatchObject({ command: "cat", args: [], running: true, exit: null });
  });
});

describe("exec stream", () => {
  it("begins with start, ends with exit, and keeps both streams byte by byte", async () => {
    const all = await stream({ command: "printf 'a\\nb'; printf err >&2; exit 2" });
    expect(all[0]).toMatchObject({ type: "start", pid: expect.any(Number) });
    expect(all.at(-1)).toMatchObject({ type: "exit", exit_code: 2, stdout_bytes: 3, stderr_bytes: 3, timed_out: false });
    expect(all.filter((record) => record.type === "exit" || record.type === "error")).toHaveLength(1);
    expect([bytesOf(all, "stdout").toString(), bytesOf(all, "stderr").toString()]).toEqual(["a\nb", "err"]);
  });

  it("never cuts a character and shows other bytes in base64", async () => {
    // The halves of each character come in separate writes.
    const all = await stream({
      command: "printf '\\303'; sleep 0.05; printf '\\274x\\360\\237'; sleep 0.05; printf '\\230\\200\\377\\303'",
    });
    expect(bytesOf(all, "stdout").toString("hex")).toBe("c3bc78f09f9880ffc3");
    const texts = all.flatMap((record) => (record.type === "output" && record.encoding === undefined ? [record.data] : []));
    expect(texts.join("")).not.toContain("\ufffd");
    const pieces = all.filter((record) => record.type === "output");
    expect(pieces.reduce((end, piece) => (piece.offset === end ? end + bytesOf([piece], "stdout").length : -1), 0)).toBe(9);
  });

  it("carries 6 MB of any bytes exactly", async () => {
    const all = await stream({ command: "head -c 6000000 /dev/urandom > r; cat r; cksum r >&2" });
    const check = await run({ command: "cksum", stdin_base64: bytesOf(all, "stdout").toString("base64") });
    expect(check.stdout.trim().split(" ").slice(0, 2)).toEqual(bytesOf(all, "stderr").toString().trim().split(" ").slice(0, 2));
  });

  /** A streamed exec whose answer is read by hand. */
  async function open(command: string): Promise<{ message: IncomingMessage; destroy: () => void }> {
    const request = httpRequest(`${server.url}/api/v1/sandboxes/${id}/exec`, {
      method: "POST",
      headers: { "x-api-key": API_KEY, "content-type": "application/json" },
    });
    request.on("error", () => undefined);
    request.end(JSON.stringify({ command, stream: true }));
    const [message] = (await once(request, "response")) as [IncomingMessage];
    message.on("error", () => undefined);
    return { message, destroy: () => request.destroy() };
  }

  it("a slow client stops the writer; a client that goes away ends nothing", async () => {
    const marker = `${server.root}/still-here`;
    const { message, destroy } = await open(`sh -c 'sleep 1; echo yes > ${marker}' & dd if=/dev/zero bs=1M count=2000 2>/dev/null`);
    const [first] = (await once(message, "data")) as [Buffer];
    const processId = (JSON.parse(first.toString().split("\n")[0] ?? "") as { process_id: number }).process_id;
    message.pause();
    const written = async (): Promise<number> =>
      (await server.operations.withGuest(id, "process.get", (guest) => guest.session(processId))).stdout.end;
    // The writer is stopped once the buffers on the way are full: two readings in a row agree.
    let before = -1;
    await expect
      .poll(
        async () => {
          const now = await written();
          const same = now === before;
          before = now;
          return same;
        },
        { interval: 200 },
      )
      .toBe(true);
    expect(before).toBeLessThan(60_000_000);
    destroy();
    await expect.poll(() => server.operations.running).toBe(0);
    const session = await server.operations.withGuest(id, "process.get", (guest) => guest.session(processId));
    expect(session.exit).toBeNull();
    await server.operations.withGuest(id, "process.signal", (guest) => guest.kill(processId, { signal: "KILL" }));
  });

  it("ends with shutting_down when the server closes, and the process lives on", async () => {
    await using closing = await startTestServer();
    const box = (await closing.operations.create({})).id;
    const streamed = await closing.call("POST", `/sandboxes/${box}/exec`, { json: { command: "echo hi; sleep 60", stream: true } });
    const waiting = closing.call("POST", `/sandboxes/${box}/exec`, { json: { command: "sleep 60" } });
    await expect.poll(() => closing.operations.running).toBe(2);
    const closed = closing.server.close();
    expect(records(await streamed.text()).at(-1)).toMatchObject({ type: "error", code: "shutting_down" });
    const refused = await waiting;
    expect([refused.status, refused.headers.get("retry-after"), await refused.json()]).toMatchObject([503, "2", { code: "shutting_down" }]);
    await closed;
    const sessions = await closing.operations.withGuest(box, "process.list", (guest) => guest.sessions());
    expect(sessions.map((session) => session.exit)).toEqual([null, null]);
  });
});
