import { CaissonError } from "@caisson/contract";
import { required, type GuestHandlers } from "@caisson/guest";
import type { MockGuest } from "./mock-guest.ts";

/** The methods about the box as a whole. */
export function mockBoxHandlers(guest: MockGuest): GuestHandlers {
  return {
    Dial: async (call, params) => {
      const network = required("network", params.oneOf("network", ["tcp", "unix"]));
      const [port, path] = [params.int("port", 1, 65_535), params.path("path")];
      params.text("host");
      params.text("user");
      params.finish();
      if (network === "unix")
        throw new CaissonError(path === undefined ? "invalid_argument" : "connection_refused", "Nothing listens there.");
      const listener = guest.options.ports.get(required("port", port));
      if (listener === undefined) throw new CaissonError("connection_refused", `Nothing listens at port ${port}.`);
      call.reply({});
      const bytes = async function* (): AsyncGenerator<Uint8Array> {
        for await (const frame of call) if (frame.kind === "data") yield frame.bytes;
      };
      const incoming = bytes();
      await listener({ [Symbol.asyncIterator]: () => incoming, write: (chunk) => call.write(chunk), end: () => call.end() });
    },
    ListPorts: (call, params) => {
      params.finish();
      const ports = [...guest.options.ports.keys()].sort((a, b) => a - b);
      call.reply({ ports: ports.map((port) => ({ port, address: "0.0.0.0" })) }, { fin: true });
    },
    Stats: (call, params) => {
      params.finish();
      const uptime = Math.floor(guest.options.clock.monotonic() - guest.bootedAt);
      const counts = { processes: guest.running + 1, sessions: guest.sessions.length };
      const network = { rx_bytes: 0, rx_packets: 0, tx_bytes: 0, tx_packets: 0 };
      call.reply(
        { uptime_ms: uptime, ...counts, memory_bytes: 0, cpu_ms: 0, cpus: 1, disk_total: 0, disk_free: 0, ...network },
        { fin: true },
      );
    },
    Shutdown: (call, params) => {
      const grace = params.int("grace_ms") ?? 2000;
      params.finish();
      call.reply({}, { fin: true });
      for (const session of guest.sessions) session.signal("TERM");
      guest.options.clock.schedule(grace, () => guest.end());
    },
  };
}
