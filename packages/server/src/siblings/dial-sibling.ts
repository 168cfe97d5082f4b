import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, type SecureContext } from "node:tls";
import type { Clock } from "@caisson/contract";

/** Silence after which the other end is asked whether it is there, in ms; without an answer the connection breaks 10 s later. */
const ASK_AFTER_MS = 5_000;

/** Where, and how. */
export interface DialSibling {
  /** `http` or `https`, host and port; nothing else of it is used. */
  readonly url: string;
  /** Whose certificates are trusted where it speaks TLS. */
  readonly trust: () => SecureContext;
  readonly connectMs: number;
  readonly clock: Clock;
  /** Default: nothing breaks it from here. */
  readonly signal?: AbortSignal;
}

/** A connection to another control plane; undefined when there is none in time. It breaks with the signal. */
export function dialSibling({ url, trust, connectMs, clock, signal }: DialSibling): Promise<Socket | undefined> {
  const { protocol, hostname, port } = new URL(url);
  const secure = protocol === "https:";
  const host = hostname.replace(/^\[|\]$/g, "");
  const where = { host, port: port === "" ? (secure ? 443 : 80) : Number(port) };
  return new Promise((resolve) => {
    // Whoever shows one of several certificates goes by the name; an address is none.
    const servername = isIP(host) === 0 ? host : "";
    const socket = secure ? connectTls({ ...where, servername, secureContext: trust() }) : connect(where);
    const destroy = (): void => void socket.destroy();
    const timer = clock.schedule(connectMs, destroy);
    signal?.addEventListener("abort", destroy, { once: true });
    if (signal?.aborted === true) destroy();
    socket.on("error", () => undefined); // told by its close
    socket.once("close", () => {
      timer.cancel();
      signal?.removeEventListener("abort", destroy);
      resolve(undefined);
    });
    socket.once(secure ? "secureConnect" : "connect", () => {
      timer.cancel();
      socket.setNoDelay(true);
      socket.setKeepAlive(true, ASK_AFTER_MS);
      resolve(socket);
    });
  });
}
