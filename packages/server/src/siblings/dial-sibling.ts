import { connect, type Socket } from "node:net";
import { connect as connectTls, getCACertificates } from "node:tls";
import type { Clock } from "@caisson/contract";

/** Silence after which the other end is asked whether it is there, in ms; without an answer the connection breaks 10 s later. */
const ASK_AFTER_MS = 5_000;

/** Where, and how. */
export interface DialSibling {
  /** `http` or `https`, host and port; nothing else of it is used. */
  readonly url: string;
  /** Certificates to trust besides the machine's, PEM. */
  readonly ca: readonly string[];
  readonly connectMs: number;
  readonly clock: Clock;
  /** Default: nothing breaks it from here. */
  readonly signal?: AbortSignal;
}

/** A connection to another control plane; undefined when there is none in time. It breaks with the signal. */
export function dialSibling({ url, ca, connectMs, clock, signal }: DialSibling): Promise<Socket | undefined> {
  const { protocol, hostname, port } = new URL(url);
  const secure = protocol === "https:";
  const host = hostname.replace(/^\[|\]$/g, "");
  const where = { host, port: port === "" ? (secure ? 443 : 80) : Number(port) };
  return new Promise((resolve) => {
    const socket = secure ? connectTls({ ...where, ca: [...getCACertificates("default"), ...ca] }) : connect(where);
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
