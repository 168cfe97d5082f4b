import { GUEST_ROUTES, isCaissonError, newId, systemRandom, WORKER_METHODS, type HostSandbox } from "@caisson/contract";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { LinkedHost } from "../testing/linked-host.ts";

const METHODS = [...Object.keys(WORKER_METHODS), ...Object.keys(GUEST_ROUTES), "worker.other", "ListSessions", ""];
/** What may come of parameters that make no sense; anything else is a mistake of ours that they brought out. */
const NEVER = ["internal", "protocol_error", "worker_unavailable"];

let linked: LinkedHost;
let box: HostSandbox;
beforeEach(async () => {
  linked = await LinkedHost.open("pair");
  const sandboxId = newId("sandbox", Date.now(), systemRandom);
  box = await linked.local.start({ sandboxId, epoch: 5, provider: "mock", image: "host", resources: {}, env: {}, network: "none" });
});
afterEach(() => linked[Symbol.asyncDispose]());

/** Parameters that are nearly right, and ones that are anything. */
function paramsOf(): fc.Arbitrary<Record<string, unknown>> {
  const value = fc.oneof(
    fc.anything({
      withNullPrototype: false,
      maxDepth: 3,
      values: [fc.string(), fc.integer(), fc.boolean(), fc.double(), fc.constant(null)],
    }),
    fc.uint8Array({ maxLength: 64 }),
    fc.constantFrom(box.sandboxId, 5, 4, 6, -1, 2 ** 53, "mock", "host", "none", "/", "/etc/passwd", "../..", {}, [], true),
  );
  const words =
    "provider runtime image resources user workdir network lines after limit draining reference force name path id command argv";
  const keys = ["sandbox_id", "epoch", "params", "__proto__", "constructor", "privileged", ...words.split(" ")];
  const anything = fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string({ maxLength: 8 })), value, { maxKeys: 8 });
  const own = fc.record({ sandbox_id: fc.constant(box.sandboxId), epoch: fc.constant(5) });
  const passed = fc.record({ sandbox_id: fc.constant(box.sandboxId), epoch: fc.constant(5), params: anything });
  return fc.oneof(
    anything,
    own,
    passed,
    fc.tuple(own, anything).map(([a, b]) => ({ ...a, ...b })),
  );
}

it("answers whatever it is asked with a result or a named error, and goes on", async () => {
  const { near, far, remote, local } = linked;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...METHODS), paramsOf(), fc.uint8Array({ maxLength: 512 }), async (method, params, input) => {
      const call = near.open(method, params, { deadlineMs: 200 });
      call.write(input).catch(() => undefined);
      call.end();
      const error: unknown = await call.reply.then(
        () => undefined,
        (failed: unknown) => failed,
      );
      call.cancel();
      if (error !== undefined && (!isCaissonError(error) || NEVER.includes(error.code))) throw error;
      expect(near.reason ?? far.reason).toBeUndefined();
    }),
    { numRuns: 1500 },
  );
  // Whatever it did to the sandbox, which it may: the worker still works, and no other epoch got at it.
  expect((await remote.describe()).workerId).toBe("w1");
  expect(await remote.inventory()).toEqual(await local.inventory());
}, 60_000);
