import { DEFAULT_RETENTION, openSqlite } from "@caisson/store";
import { VirtualClock } from "@caisson/testkit";
import { expect, it, vi } from "vitest";
import { Purger } from "./purger.ts";

it("removes old history a minute after the start, batch by batch, and only while it has the right to", async () => {
  const clock = new VirtualClock();
  await using store = await openSqlite({ path: ":memory:", clock });
  const purged = { sandboxes: 0, keys: 0, events: 0, processes: 0, deliveries: 0, more: true };
  const purge = vi
    .spyOn(store, "purge")
    .mockResolvedValue(purged)
    .mockResolvedValueOnce(purged)
    .mockResolvedValueOnce({ ...purged, more: false });
  const nothing = (): void => undefined;
  const logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
  const stop = new AbortController();
  const run = new Purger({ clock, store, logger, retention: DEFAULT_RETENTION }).run(stop.signal);
  await clock.advance(59_000);
  expect(purge).not.toHaveBeenCalled();
  await clock.advance(1_000);
  expect(purge).toHaveBeenCalledTimes(1);
  await clock.advance(1_000);
  expect(purge).toHaveBeenCalledTimes(2);
  await clock.advance(599_000);
  expect(purge).toHaveBeenCalledTimes(2);
  stop.abort();
  await run;
});
