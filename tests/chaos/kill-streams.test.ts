import { Caisson, CaissonApiError, Sandbox } from "@caisson/sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";

describe("kill -9 of the server", () => {
  let server: TestServer;
  let sandbox: Sandbox;
  beforeAll(async () => {
    server = await TestServer.start();
    sandbox = await Sandbox.create({}, { client: new Caisson({ url: server.url, apiKey: server.apiKey }) });
    const lines = "for i in $(seq 200000); do echo a needle in a long line of a file; done > /home/user/lines";
    await sandbox.commands.run(lines, { check: true });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it("interrupts what follows a sandbox, which goes on and still ends with it", { timeout: 180_000 }, async () => {
    const begun: string[] = [];
    const noting: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      const name = new URL(input as string).pathname.split("/").slice(-2).join("/");
      begun.push(name);
      // With what comes first, a stream says where it begins: the client goes on from there.
      const noted = new TransformStream<Uint8Array, Uint8Array>({
        transform: (bytes, controller) => {
          if (Buffer.from(bytes).includes("id: ")) begun.push(`${name} from a position`);
          controller.enqueue(bytes);
        },
      });
      return new Response(response.body?.pipeThrough(noted) ?? null, response);
    };
    const { id: early } = await server.json<{ id: string }>("POST", "/sandboxes", {});
    const client = new Caisson({ url: server.url, apiKey: server.apiKey, fetch: noting });
    const other = await Sandbox.create({}, { client });
    const samples = other.statsStream({ interval: "200ms" });
    const console = other.followLogs();
    const events = client.events.stream({ types: ["sandbox.destroyed"] });
    expect((await samples.next()).value?.processes).toBeGreaterThanOrEqual(0);
    const line = console.next();
    const ended = events.next();
    await expect.poll(() => begun).toEqual(expect.arrayContaining(["logs/stream", "events/stream from a position"]));
    await server.kill9();
    await server.up();
    // Before they come back: what happens now must not pass them by.
    await server.json("DELETE", `/sandboxes/${early}`);
    await expect.poll(() => begun.filter((name) => name === "logs/stream").length).toBeGreaterThan(1);
    expect((await samples.next()).value?.processes).toBeGreaterThanOrEqual(0);
    await other.destroy();
    // Whatever lines there are, all that follow end by themselves.
    for (let next = await line; next.done !== true; next = await console.next());
    for (let next = await samples.next(); next.done !== true; next = await samples.next());
    expect((await ended).value).toMatchObject({ type: "sandbox.destroyed", sandbox_id: early });
    await events.return();
  });

  it("ends what cannot go on with an error that says so", { timeout: 300_000 }, async () => {
    const consumed = async (stream: AsyncIterable<unknown>): Promise<unknown> => {
      let killed: Promise<void> | undefined;
      for await (const _item of stream) killed ??= server.kill9();
      await killed;
      return "ended as if it were whole";
    };
    const code = "import time\nfor n in range(10**6): print(n); time.sleep(0.001)";
    for (const open of [
      async () => sandbox.files.search("/home/user", "needle", { limit: 100_000 }),
      async () => sandbox.files.archive("/usr/lib", {}),
      async () => (await sandbox.files.download("/home/user/lines", { verify: false })).body,
      async () => sandbox.code.stream(code, { timeout: "30s" }),
      async () => (await sandbox.ports.connect(await listen())).readable as unknown as AsyncIterable<unknown>,
    ]) {
      const failure = await open()
        .then(consumed)
        .catch((error: unknown) => error);
      await server.kill9();
      await server.up();
      expect(failure).toBeInstanceOf(CaissonApiError);
      expect((failure as CaissonApiError).code).toBe("server_unreachable");
    }
  });

  /** A server in the sandbox that never stops talking. */
  const listen = async (): Promise<number> => {
    const program = [
      "import socket",
      "s = socket.create_server(('127.0.0.1', 0))",
      "print(s.getsockname()[1], flush=True)",
      "c, _ = s.accept()",
      "while True: c.sendall(b'x' * 65536)",
    ].join("\n");
    const { process_id } = await sandbox.commands.spawn(["python3", "-c", program]);
    for await (const event of sandbox.processes.attach(process_id)) if (event.type === "output") return Number(event.text);
    throw new Error("It does not listen.");
  };
});
