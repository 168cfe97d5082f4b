import { systemClock } from "@caisson/contract";
import { DEFAULT_RETENTION, openSqlite, type Store } from "@caisson/store";
import { VirtualClock } from "@caisson/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { followEvents, type EventNews } from "./event-follower.ts";

let store: Store;
let made = 0;
beforeEach(async () => {
  made = 0;
  store = await openSqlite({ path: ":memory:", clock: systemClock });
});
afterEach(() => store.close());

/** Makes a sandbox, and with it one event. */
async function happen(): Promise<void> {
  made += 1;
  await store.sandboxes.reserve({
    id: `sb${made}`,
    workerId: "local",
    ownerId: null,
    tenantId: null,
    placement: null,
    spec: { provider: "oci", image: "host", resources: {}, network: "none" },
    env: {},
    metadata: {},
    previewDomain: null,
    ttlMs: 60_000,
    deadlineMs: 10_000,
    maxLive: 0,
  });
}

const open = async (after?: number, filter = {}, clock = systemClock, signal = new AbortController().signal) =>
  (await followEvents({ events: store.events, clock, filter, signal, ...(after === undefined ? {} : { after }) }))[Symbol.asyncIterator]();
const seqOf = ({ value }: IteratorResult<EventNews, unknown>): unknown => {
  const news = value as EventNews;
  return news.type === "event" ? news.event.seq : news;
};

it("gives what was and what comes, in order, woken by what is appended", async () => {
  await happen();
  await happen();
  const clock = new VirtualClock(0); // never moved: only the bell can wake it
  const all = await open(0, {}, clock);
  const fresh = await open(undefined, {}, clock);
  expect(seqOf(await fresh.next())).toEqual({ type: "position", seq: 2 });
  expect([seqOf(await all.next()), seqOf(await all.next())]).toEqual([1, 2]);
  const [next, newest] = [all.next(), fresh.next()];
  await happen();
  expect([seqOf(await next), seqOf(await newest)]).toEqual([3, 3]);
});

it("tells what is no longer kept, and refuses what never was", async () => {
  for (let i = 0; i < 5; i += 1) await happen();
  await store.purge({ ...DEFAULT_RETENTION, eventCount: 2 });
  const late = await open(1);
  expect([seqOf(await late.next()), seqOf(await late.next())]).toEqual([{ type: "gap", gap: { from: 2, to: 4 } }, 4]);
  expect(seqOf(await (await open(3)).next())).toBe(4);
  await expect(open(6)).rejects.toMatchObject({ code: "invalid_request" });
});

it("tells a gap also to one that was too slow", async () => {
  await happen();
  const slow = await open(0);
  expect(seqOf(await slow.next())).toBe(1);
  for (let i = 0; i < 5; i += 1) await happen();
  await store.purge({ ...DEFAULT_RETENTION, eventCount: 1 });
  expect([seqOf(await slow.next()), seqOf(await slow.next())]).toEqual([{ type: "gap", gap: { from: 2, to: 6 } }, 6]);
});

it("tells a position when nothing wanted came for long", async () => {
  const none = await open(0, { sandboxId: "sbother" });
  const next = none.next();
  for (let i = 0; i < 1_000; i += 1) await happen();
  expect(seqOf(await next)).toMatchObject({ type: "position" });
});

it("ends with its signal, by its reason", async () => {
  const stop = new AbortController();
  const next = (await open(0, {}, systemClock, stop.signal)).next();
  stop.abort(new Error("enough"));
  await expect(next).rejects.toThrow("enough");
});
