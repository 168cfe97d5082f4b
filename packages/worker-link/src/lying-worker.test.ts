import { duplexPair } from "node:stream";
import { Link, type IncomingCall } from "@caisson/link";
import { afterEach, expect, it } from "vitest";
import { RemoteHost } from "./remote-host.ts";
import { workerLinkOptions } from "./worker-link-options.ts";

const REF = { sandboxId: "sb000000000000000000000", epoch: 1 };

const links: Link[] = [];
afterEach(() => {
  for (const link of links.splice(0)) link.close();
});

/** A control plane's view of a worker that answers calls like this. */
function lying(answer: (call: IncomingCall) => Promise<void>): RemoteHost {
  const [a, b] = duplexPair();
  const near = new Link(
    a,
    workerLinkOptions(a, "control", "listener", (call) => call.end()),
  );
  const far = new Link(
    b,
    workerLinkOptions(b, "worker", "dialler", (call) => void answer(call).catch(() => undefined)),
  );
  links.push(near, far);
  return new RemoteHost("w1", near);
}

it("makes no strings of millions of empty lines, whatever a worker says of their number", async () => {
  for (const lines of [0, 1, 4_000_000]) {
    const host = lying(async (call) => {
      call.reply({});
      for (let i = 0; i < 61; i += 1) await call.write(Buffer.alloc(65_536, "\n"));
      await call.sendEvent({ type: "console_end", lines, end: 1, truncated: false }, { fin: true });
    });
    const before = process.memoryUsage().heapUsed;
    await expect(host.logs(REF, { lines: 10 })).rejects.toMatchObject({ code: "protocol_error" });
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(16_777_216);
  }
});

it("takes no list and no console without end", async () => {
  const item = { sandbox_id: REF.sandboxId, epoch: 1, state: "running", provider: "p", runtime: null, image: "i", image_digest: null };
  let sent = 0;
  const list = lying(async (call) => {
    call.reply({});
    for (;;) {
      await call.sendEvent({ type: "sandboxes", items: Array.from({ length: 500 }, () => item) });
      sent += 500;
    }
  });
  await expect(list.inventory()).rejects.toMatchObject({ code: "protocol_error" });
  expect(sent).toBeLessThan(40_000);
  const text = lying(async (call) => {
    call.reply({});
    for (;;) await call.write(Buffer.alloc(65_536, "x"));
  });
  await expect(text.logs(REF, { lines: 10 })).rejects.toMatchObject({ code: "protocol_error" });
});

it("lets a worker's answer go that never ends with words of later versions, when the caller does", async () => {
  const ended = Promise.withResolvers<unknown>();
  const limit = new AbortController();
  let sent = 0;
  const host = lying(async (call) => {
    call.reply({});
    try {
      for (;;) {
        await call.sendEvent({ type: "chatter", items: "x".repeat(1_000) });
        if ((sent += 1) === 1_000) limit.abort();
      }
    } catch (error) {
      ended.resolve(error);
    }
  });
  await expect(host.inventory(limit.signal)).rejects.toMatchObject({ code: "cancelled" });
  expect(await ended.promise).toMatchObject({ code: "cancelled" });
});

it("reads of an inventory what can be read, and tells what cannot", async () => {
  const item = { sandbox_id: REF.sandboxId, epoch: 1, state: "running", provider: "p", runtime: null, image: "i", image_digest: null };
  const other = "sb000000000000000000001";
  const items: unknown[] = [
    { ...item, sandbox_id: other, epoch: -1 },
    item,
    null,
    "x".repeat(10_000),
    { ...item, sandbox_id: `${other}/..` },
    { sandbox_id: { toString: other } },
    { [`${"k".repeat(10_000)}`]: 1, sandbox_id: other },
  ];
  const host = lying(async (call) => {
    call.reply({});
    await call.sendEvent({ type: "sandboxes", items });
    call.end();
  });
  const told = await host.inventory();
  expect(told.filter(({ state }) => state !== "unread")).toMatchObject([{ ...REF, state: "running" }]);
  const unread = told.filter((one) => one.state === "unread");
  expect(unread.map(({ sandboxId }) => sandboxId)).toEqual([other, null, null, null, null, other]);
  for (const { problem } of unread) expect(problem.length).toBeLessThan(512);
  expect(unread[0]?.problem).toContain("epoch");
});

it("takes no list without end of what cannot be read", async () => {
  let sent = 0;
  const host = lying(async (call) => {
    call.reply({});
    for (;;) {
      await call.sendEvent({ type: "sandboxes", items: Array.from({ length: 500 }, () => "x".repeat(100)) });
      sent += 500;
    }
  });
  await expect(host.inventory()).rejects.toMatchObject({ code: "protocol_error" });
  expect(sent).toBeLessThan(40_000);
});

it("knows a sandbox by the name it asked for, and values by their shape", async () => {
  const own = {
    sandbox_id: "sb000000000000000000001",
    epoch: 1,
    state: "running",
    provider: "p",
    runtime: null,
    image: "i",
    image_digest: null,
  };
  const answers: unknown[] = [
    { sandbox: own },
    { sandbox: { ...own, sandbox_id: REF.sandboxId, state: "destroyed" } },
    { sandbox: { ...own, sandbox_id: "../../etc" } },
    { sandbox: { ...own, sandbox_id: REF.sandboxId, epoch: -1 } },
    { sandbox: { ...own, sandbox_id: REF.sandboxId, reason: "x".repeat(2_000) } },
    { __proto__: null, constructor: { sandbox: null } },
  ];
  for (const answer of answers) {
    const host = lying(async (call) => call.reply(answer as Record<string, unknown>, { fin: true }));
    await expect(host.inspect(REF.sandboxId)).rejects.toMatchObject({ code: "protocol_error" });
  }
});
