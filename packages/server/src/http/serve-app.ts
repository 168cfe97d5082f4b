import { Server as NetServer, type AddressInfo } from "node:net";
import { Server as TlsServer } from "node:tls";
import type { Clock } from "@caisson/contract";
import type { ServerLimits } from "../server-options.ts";
import type { App } from "./app.ts";
import type { LiveRequests } from "./live-requests.ts";
import { nodeTls, type TlsOptions } from "./tls-options.ts";

/** The HTTP side of a control plane or a worker. */
export interface HttpServer {
  /** The application, for requests without a socket in tests. */
  readonly app: App;
  /** Listens and returns the URL. Port 0 takes any free one. */
  listen(address: { readonly host: string; readonly port: number }): Promise<string>;
  /** Shows another certificate to whoever connects from now on. Throws for one that does not fit its key, and keeps the old one. */
  setTls(tls: TlsOptions): void;
  /**
   * Stops accepting, ends streams with an `error` record `shutting_down`, waits for the rest until the deadline, then
   * breaks what is left. Nothing in a sandbox is stopped. Repeating it is fine.
   */
  close(): Promise<void>;
}

/** What serving needs beside the application. */
export interface ServeAppOptions {
  readonly live: LiveRequests;
  readonly clock: Clock;
  readonly limits: Pick<ServerLimits, "closeDeadlineMs">;
  /** Called when the last request has ended, before what is left is broken. */
  readonly idle?: () => void | Promise<void>;
}

/** Serves an application that is ready. */
export function serveApp(app: App, { live, clock, limits, idle }: ServeAppOptions): HttpServer {
  let closed: Promise<void> | undefined;

  async function close(): Promise<void> {
    live.beginClose();
    // Node's own way to close an HTTP server breaks answers that are not yet with their clients; this only stops listening.
    NetServer.prototype.close.call(app.server);
    const deadline = clock.schedule(limits.closeDeadlineMs, () => {
      live.endAll();
      app.server.closeAllConnections();
    });
    await live.idle();
    deadline.cancel();
    await idle?.();
    app.server.closeAllConnections();
    await app.close();
  }

  return {
    app,
    listen: async ({ host, port }) => {
      await app.listen({ host, port });
      const { address, port: bound, family } = app.server.address() as AddressInfo;
      const scheme = app.server instanceof TlsServer ? "https" : "http";
      return `${scheme}://${family === "IPv6" ? `[${address}]` : address}:${bound}`;
    },
    setTls: (tls) => {
      if (app.server instanceof TlsServer) app.server.setSecureContext(nodeTls(tls));
    },
    close: () => (closed ??= close()),
  };
}
