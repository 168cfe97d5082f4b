import type { ServerResponse } from "node:http";
import { describe, expect, test, vi } from "vitest";
import { Caisson, CaissonApiError, CommandFailedError, CommandTimeoutError, Sandbox } from "./index.ts";
import { HttpPeer, sandboxJson, sendJson, type Answer } from "./testing/http-peer.ts";

const ID = "sb0000000000000000000a1";
const exit = { type: "exit", exit_code: 0, signal: null, duration_ms: 5, timed_out: false, stdout_bytes: 3, stderr_bytes: 0 };
const start = { type: "start", process_id: 4, pid: 40 };
const lines = (...records: unknown[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join("");

/** A peer with one sandbox; `exec` answers its commands. */
async function peerWith(exec: Answer): Promise<{ peer: HttpPeer; sandbox: Sandbox }> {
  const peer = await HttpPeer.listen((request, response, body) => {
    if (request.url === `/api/v1/sandboxes/${ID}`) return sendJson(response, 200, sandboxJson(ID));
    return exec(request, response, body);
  });
  return { peer, sandbox: await Sandbox.connect(ID, { client: new Caisson({ url: peer.url, apiKey: "k" }) }) };
}

describe("commands", () => {
  test("run gathers what was said and calls back while it runs", async () => {
    let sent: unknown;
    const { peer, sandbox } = await peerWith((_request, response, body) => {
      sent = JSON.parse(body.toString());
      response.end(
        lines(
          start,
          { type: "output", stream: "stdout", offset: 0, data: "4" },
          { type: "output", stream: "stderr", offset: 0, data: "/w==", encoding: "base64" },
          { type: "output", stream: "stdout", offset: 1, data: "2\n" },
          exit,
        ),
      );
    });
    await using _ = peer;
    const heard: string[] = [];
    const result = await sandbox.commands.run(["python3", "-c", "print(42)"], {
      cwd: "/work",
      user: "root",
      timeout: "5s",
      env: { A: "b" },
      stdin: "in",
      onStdout: (text) => void heard.push(text),
    });
    expect(sent).toEqual({
      command: "python3",
      args: ["-c", "print(42)"],
      mode: "argv",
      workdir: "/work",
      user: "root",
      timeout: "5s",
      env: { A: "b" },
      stdin: "in",
      stream: true,
    });
    expect(result).toMatchObject({ exitCode: 0, stdout: "42\n", stderr: "\ufffd", processId: 4, truncated: false });
    expect([...result.stderrRaw]).toEqual([0xff]);
    expect(heard).toEqual(["4", "2\n"]);
  });

  test("another status than 0 is a result; with check an error that is the result", async () => {
    const failed = lines(start, { type: "output", stream: "stderr", offset: 0, data: "no" }, { ...exit, exit_code: 3 });
    const { peer, sandbox } = await peerWith((_request, response) => void response.end(failed));
    await using _ = peer;
    expect((await sandbox.commands.run("false")).exitCode).toBe(3);
    const error = await sandbox.commands.run("false", { check: true }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CommandFailedError);
    expect(error).toMatchObject({ exitCode: 3, stderr: "no" });
  });

  test("a timeout is an error that has what was written", async () => {
    const late = lines(
      start,
      { type: "output", stream: "stdout", offset: 0, data: "so far" },
      { ...exit, exit_code: 137, timed_out: true },
    );
    const { peer, sandbox } = await peerWith((_request, response) => void response.end(late));
    await using _ = peer;
    const error = await sandbox.commands.run("sleep 9", { timeout: "1s" }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CommandTimeoutError);
    expect(error).toMatchObject({ code: "exec_timeout", status: 408, result: { stdout: "so far" } });
  });

  test("a broken connection is made again at the offset reached", async () => {
    const { peer, sandbox } = await peerWith((request, response) => {
      if (request.method === "POST") {
        response.write(lines(start, { type: "output", stream: "stdout", offset: 0, data: "ab" }) + '{"type":"out', () =>
          response.destroy(),
        );
      } else response.end(lines(start, { type: "output", stream: "stdout", offset: 1, data: "bc" }, exit));
    });
    await using _ = peer;
    expect((await sandbox.commands.run("x")).stdout).toBe("abc");
    expect(peer.requests.at(-1)).toBe(`GET /api/v1/sandboxes/${ID}/processes/4/output?stdout_offset=2&stderr_offset=0`);
  });

  test("an aborted run kills what it started and throws the reason", async () => {
    const abort = new AbortController();
    const { peer, sandbox } = await peerWith((request, response) => {
      if (request.url?.endsWith("/signal")) return sendJson(response, 200, {});
      response.write(lines(start), () => abort.abort(new Error("enough")));
    });
    await using _ = peer;
    await expect(sandbox.commands.run("sleep 100", { signal: abort.signal })).rejects.toThrow("enough");
    expect(peer.requests.at(-1)).toBe(`POST /api/v1/sandboxes/${ID}/processes/4/signal`);
  });

  test("leaving a stream early kills what it started; leaving an attached one does not", async () => {
    const { peer, sandbox } = await peerWith((request, response) => {
      if (request.url?.endsWith("/signal")) return sendJson(response, 200, {});
      response.write(lines(start));
    });
    await using _ = peer;
    for await (const event of sandbox.commands.stream("sleep 100")) if (event.type === "start") break;
    expect(peer.requests.at(-1)).toContain("/processes/4/signal");
    for await (const event of sandbox.commands.attach(4)) if (event.type === "start") break;
    expect(peer.requests.at(-1)).toContain("/processes/4/output");
  });

  test("input that is a stream goes beside the output, and is closed at its end", async () => {
    let input = "";
    let running: ServerResponse | undefined;
    const { peer, sandbox } = await peerWith((request, response, body) => {
      if (request.url?.includes("/stdin")) {
        input += body.toString();
        sendJson(response, 200, { written: body.length });
        if (request.url.endsWith("?close=true")) running?.end(lines(exit));
      } else {
        running = response;
        response.write(lines(start));
      }
    });
    await using _ = peer;
    const stdin = ReadableStream.from([Buffer.from("one "), Buffer.from("two")]) as ReadableStream<Uint8Array>;
    expect((await sandbox.commands.run("cat", { stdin })).exitCode).toBe(0);
    expect(input).toBe("one two");
  });

  test("a command that ends does not wait for input that never comes", async () => {
    const { peer, sandbox } = await peerWith((_request, response) => void response.end(lines(start, exit)));
    await using _ = peer;
    const never = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => undefined) });
    expect((await sandbox.commands.run("true", { stdin: never })).exitCode).toBe(0);
  });
});

describe("calls", () => {
  test("an answer with a problem becomes a typed error", async () => {
    const wanted = { code: "state_conflict", message: "It is paused.", remedy: "Resume it.", detail: { state: "paused" } };
    const problem = { ...wanted, request_id: "r1" };
    await using peer = await HttpPeer.listen((_request, response) => sendJson(response, 409, problem));
    const error = await Sandbox.connect(ID, { client: new Caisson({ url: peer.url }) }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CaissonApiError);
    expect(error).toMatchObject({ ...wanted, requestId: "r1", status: 409, retryable: false });
  });

  test("an answer that is not ours is judged by its status", async () => {
    await using peer = await HttpPeer.listen((_request, response) => void response.writeHead(502).end("<html>"));
    await expect(Sandbox.connect(ID, { client: new Caisson({ url: peer.url }) })).rejects.toMatchObject({
      code: "server_unreachable",
      status: 502,
    });
  });

  test("no server is an error that says where", async () => {
    const peer = await HttpPeer.listen(() => undefined);
    await peer[Symbol.asyncDispose]();
    await expect(Sandbox.connect(ID, { client: new Caisson({ url: peer.url }) })).rejects.toMatchObject({
      code: "server_unreachable",
      message: `No answer from ${peer.url}: ECONNREFUSED.`,
    });
  });

  test("create is sent again with the same key when the connection broke", async () => {
    const keys: unknown[] = [];
    await using peer = await HttpPeer.listen((request, response) => {
      keys.push(request.headers["idempotency-key"]);
      if (keys.length === 1) response.destroy();
      else sendJson(response, 201, sandboxJson(ID));
    });
    expect((await Sandbox.create({}, { client: new Caisson({ url: peer.url }) })).id).toBe(ID);
    expect(keys).toHaveLength(2);
    expect(keys[0]).toBe(keys[1]);
  });

  test("a call without an answer ends at its deadline, and at its signal", async () => {
    await using peer = await HttpPeer.listen(() => undefined);
    const client = new Caisson({ url: peer.url });
    await expect(Sandbox.connect(ID, { client, timeoutMs: 20 })).rejects.toMatchObject({ code: "deadline_exceeded" });
    const reason = new Error("enough");
    const abort = new AbortController();
    const connecting = Sandbox.connect(ID, { client, signal: abort.signal });
    abort.abort(reason);
    await expect(connecting).rejects.toBe(reason);
  });

  test("the deadline does not bound a stream that has begun", async () => {
    let running: ServerResponse | undefined;
    const { peer, sandbox } = await peerWith((_request, response) => {
      running = response;
      response.write(lines(start));
    });
    await using _ = peer;
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const seen: string[] = [];
      for await (const event of sandbox.commands.stream("sleep 100", { timeoutMs: 60_000 })) {
        seen.push(event.type);
        if (event.type !== "start") continue;
        vi.advanceTimersByTime(600_000);
        running?.end(lines(exit));
      }
      expect(seen).toEqual(["start", "exit"]);
      expect(peer.requests).toHaveLength(2);
    } finally {
      vi.useRealTimers();
    }
  });

  test("a list goes through all pages", async () => {
    await using peer = await HttpPeer.listen((request, response) => {
      const second = request.url?.includes("cursor=c1");
      sendJson(response, 200, { items: [sandboxJson(second ? "b" : "a")], next_cursor: second ? null : "c1" });
    });
    const ids: string[] = [];
    const client = new Caisson({ url: peer.url });
    for await (const sandbox of Sandbox.list({ client, metadata: { team: "x y" }, state: ["running", "paused"] })) ids.push(sandbox.id);
    expect(ids).toEqual(["a", "b"]);
    expect(peer.requests[0]).toBe("GET /api/v1/sandboxes?state=running%2Cpaused&metadata=team%3Dx+y");
  });

  test("a sandbox is destroyed at the end of its scope", async () => {
    await using peer = await HttpPeer.listen((_request, response) => sendJson(response, 200, sandboxJson(ID)));
    {
      await using sandbox = await Sandbox.create({}, { client: new Caisson({ url: peer.url }) });
      expect(sandbox.info.state).toBe("running");
    }
    expect(peer.requests.at(-1)).toBe(`DELETE /api/v1/sandboxes/${ID}`);
  });
});
