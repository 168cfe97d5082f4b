import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

/** Below the ports that Linux gives to connections and to whoever asks for any: nothing takes one of these by chance. */
const FIRST = 20_000;
const LAST = 32_000;
/** Suites that run side by side have ports of their own, so that none takes what another was given and does not use yet. */
const SHARES = 8;
const SHARE = Number(process.env["VITEST_POOL_ID"] ?? 0) % SHARES;

const given = new Set<number>();

/** A port of loopback that nobody has, and that nobody here was given before; it is not held. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + SHARES * randomInt((LAST - FIRST) / SHARES) + SHARE;
    if (given.has(port)) continue;
    const server = createServer();
    try {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") continue;
      throw error;
    }
    server.close();
    await once(server, "close");
    given.add(port);
    return port;
  }
}
