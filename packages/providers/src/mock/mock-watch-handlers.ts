import { CaissonError, type Timer } from "@caisson/contract";
import { required, type GuestHandlers } from "@caisson/guest";
import type { MockGuest } from "./mock-guest.ts";
import { mockUser } from "./mock-user.ts";
import { MockWatch } from "./mock-watch.ts";

const MAX_WATCHES = 64;
const DEFAULT_EXPIRY_MS = 300_000;
const MAX_EXPIRY_MS = 604_800_000;
const READ = 4;
/** Most changes in one event. */
const BATCH = 200;

/** The methods about watches. */
export function mockWatchHandlers(guest: MockGuest): GuestHandlers {
  const watches = new Map<number, MockWatch>();
  const endings = new Map<number, () => void>();
  let last = 0;

  function find(id: number): MockWatch {
    const watch = watches.get(id);
    if (watch === undefined) throw new CaissonError("not_found", `There is no watch ${id}.`);
    return watch;
  }

  function close(id: number, why: string): void {
    const watch = find(id);
    watches.delete(id);
    endings.get(id)?.();
    endings.delete(id);
    watch.close(why);
  }

  return {
    OpenWatch: (call, params) => {
      const path = required("path", params.path("path"));
      const recursive = params.flag("recursive", false);
      const expiresMs = params.int("expires_ms", 1, MAX_EXPIRY_MS) ?? DEFAULT_EXPIRY_MS;
      const user = mockUser(params.text("user") ?? guest.options.user);
      params.finish();
      if (watches.size >= MAX_WATCHES) throw new CaissonError("resource_exhausted", `${MAX_WATCHES} watches are open; close some.`);
      guest.files.check(guest.files.get(path, user), user, READ, path);
      const id = ++last;
      const real = guest.files.find(path, user, "follow").path;
      const rest = (): Timer => guest.options.clock.schedule(expiresMs, () => close(id, "Nobody read the watch."));
      const watch = new MockWatch({ asked: path, real, recursive, rest });
      watches.set(id, watch);
      endings.set(
        id,
        guest.files.observe((change) => watch.take(change)),
      );
      call.reply({ id, seq: 0 }, { fin: true });
    },
    ReadWatch: async (call, params) => {
      const [id, after] = [required("id", params.int("id")), params.int("after") ?? 0];
      params.finish();
      const watch = find(id);
      if (after > watch.newest) throw new CaissonError("invalid_argument", `after: the newest change is ${watch.newest}.`);
      call.reply({ id, oldest: watch.oldest, newest: watch.newest });
      watch.enter();
      let gone = false;
      void call.closed.then(() => {
        gone = true;
        watch.news.notify();
      });
      try {
        let read = after;
        while (!gone && watch.closed === undefined) {
          if (read + 1 < watch.oldest) {
            await call.sendEvent({ type: "gap", from: read + 1, to: watch.oldest });
            read = watch.oldest - 1;
          } else if (read < watch.newest) {
            const from = read + 1 - watch.oldest;
            const changes = watch.changes.slice(from, from + BATCH);
            read += changes.length;
            watch.delivered = Math.max(watch.delivered, read);
            await call.sendEvent({ type: "changes", changes });
          } else await watch.news.next();
        }
      } finally {
        watch.leave();
      }
      if (watch.closed !== undefined) throw new CaissonError("cancelled", watch.closed);
    },
    CloseWatch: (call, params) => {
      const id = required("id", params.int("id"));
      params.finish();
      close(id, "The watch was closed.");
      call.reply({}, { fin: true });
    },
  };
}
