import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { CaissonError, toCaissonError, type Clock, type Config, type Timer } from "@caisson/contract";
import type { TlsOptions } from "@caisson/server";
import type { logFunction } from "./create-logger.ts";

/** How often the files are looked at again, in ms. */
const LOOK_MS = 60_000;

/** Certificate and key of the server, as the files held them when they were last good. */
export interface TlsFiles {
  readonly current: TlsOptions;
  /** Tells of files that were replaced, within a minute. What does not fit is logged, and the old certificate stays. */
  follow(changed: (tls: TlsOptions) => void, clock: Clock, log: ReturnType<typeof logFunction>): Disposable;
}

/** Opens the files that `server.tls` or `worker.tls` names; undefined where it names none. Throws `invalid_request` for what cannot serve. */
export function openTlsFiles(
  { cert_file: certFile, key_file: keyFile }: Config["server"]["tls"],
  clientCa: readonly string[],
  section: "server.tls" | "worker.tls" = "server.tls",
): TlsFiles | undefined {
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined)
    throw new CaissonError("invalid_request", `${section}.cert_file and ${section}.key_file belong together; one of them is not set.`, {
      detail: { remedy: "Set both, or none." },
    });
  const read = (): { readonly cert: string; readonly key: string } => ({
    cert: readFileSync(certFile, "utf8"),
    key: readFileSync(keyFile, "utf8"),
  });
  return followTls(read, clientCa, { certificate: certFile, key: keyFile });
}

/** A certificate and its key from wherever they are, looked at again every minute or `lookMs`; `names` are for people. Throws `invalid_request` for what cannot serve. */
export function followTls(
  find: () => { readonly cert: string; readonly key: string },
  clientCa: readonly string[],
  names: { readonly certificate: string; readonly key: string },
  lookMs: number = LOOK_MS,
): TlsFiles {
  const read = (): TlsOptions => {
    try {
      const tls = { ...find(), clientCa };
      createSecureContext({ cert: tls.cert, key: tls.key });
      return tls;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CaissonError("invalid_request", `The certificate ${names.certificate} with the key ${names.key} cannot serve: ${why}.`, {
        cause,
      });
    }
  };
  let current = read();
  return {
    get current() {
      return current;
    },
    follow: (changed, clock, log) => {
      let timer: Timer;
      const look = (): void => {
        timer = clock.schedule(lookMs, look);
        try {
          const found = read();
          if (found.cert === current.cert && found.key === current.key) return;
          changed(found);
          current = found;
          log("info", "the server's certificate was replaced", { file: names.certificate });
        } catch (error) {
          log("warn", "the server's new certificate cannot be used; the old one stays", { reason: toCaissonError(error).message });
        }
      };
      timer = clock.schedule(lookMs, look);
      return { [Symbol.dispose]: () => timer.cancel() };
    },
  };
}
