import type { ControlLossPolicy, PauseOutcome, SandboxRef } from "@caisson/contract";
import { VirtualClock } from "@caisson/testkit";
import { expect, it } from "vitest";
import { ControlLoss } from "./control-loss.ts";

const REF = { sandboxId: "sb000000000000000000000", epoch: 1 };
const DONE: PauseOutcome = { done: [REF], refused: [] };

/** A host that notes what it is asked, and does as the test says. */
function world(policy: ControlLossPolicy): {
  clock: VirtualClock;
  did: string[];
  next: (() => Promise<PauseOutcome>)[];
  changed: SandboxRef[];
  loss: ControlLoss;
} {
  const clock = new VirtualClock();
  const did: string[] = [];
  const next: (() => Promise<PauseOutcome>)[] = [];
  const act = (what: string) => (): Promise<PauseOutcome> => {
    did.push(what);
    return next.shift()?.() ?? Promise.resolve(DONE);
  };
  const host = { pauseAll: act("pause"), resumeAll: act("resume") };
  const changed: SandboxRef[] = [];
  const tell = (ref: SandboxRef): void => void changed.push(ref);
  return { clock, did, next, changed, loss: new ControlLoss({ policy, host, changed: tell, clock, log: () => undefined }) };
}

it("freezes once when control is lost, and thaws when it is back", async () => {
  const { changed, did, loss } = world("pause");
  expect(did).toEqual([]);
  loss.lost("silence");
  loss.lost("silence");
  await loss.settled();
  expect(did).toEqual(["pause"]);
  loss.heard();
  loss.heard();
  await loss.settled();
  expect(did).toEqual(["pause", "resume"]);
  expect(changed).toEqual([REF, REF]);
});

it("keeps what an earlier run froze until it hears, and then thaws it", async () => {
  const { did, loss } = world("pause");
  loss.heard();
  await loss.settled();
  expect(did).toEqual(["resume"]);
});

it("leaves all as it is where that is wanted, and thaws at its start what an earlier run froze", async () => {
  const { did, loss } = world("run");
  await loss.settled();
  loss.lost("silence");
  await loss.settled();
  expect(did).toEqual(["resume"]);
});

it("thaws at last when control comes back while it freezes", async () => {
  const { did, next, loss } = world("pause");
  const freezing = Promise.withResolvers<PauseOutcome>();
  next.push(() => freezing.promise);
  loss.lost("silence");
  loss.heard();
  freezing.resolve(DONE);
  await loss.settled();
  expect(did).toEqual(["pause", "resume"]);
});

it("tries again to thaw what could not be thawed, and not to freeze what cannot be frozen", async () => {
  const { clock, did, next, loss } = world("pause");
  const refused: PauseOutcome = { done: [], refused: [{ ...REF, code: "internal", reason: "no" }] };
  next.push(() => Promise.resolve(refused));
  loss.lost("silence");
  await loss.settled();
  expect(did).toEqual(["pause"]);
  next.push(
    () => Promise.resolve(refused),
    () => Promise.reject(new Error("no disk")),
  );
  loss.heard();
  const settled = loss.settled();
  await clock.advance(5_000);
  await clock.advance(5_000);
  await settled;
  expect(did).toEqual(["pause", "resume", "resume", "resume"]);
});
