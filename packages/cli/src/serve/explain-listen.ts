import { CaissonError } from "@caisson/contract";

/** Where an address was configured. */
export interface ListenKeys {
  readonly host: string;
  readonly port: string;
}

/** What keeps a server or a worker from listening, and what to do about it; other errors come back as they are. */
export function explainListen(error: unknown, { host, port }: { readonly host: string; readonly port: number }, keys: ListenKeys): unknown {
  const failed = (message: string, remedy: string): CaissonError =>
    new CaissonError("already_exists", message, { cause: error, detail: { remedy } });
  switch ((error as NodeJS.ErrnoException).code) {
    case "EADDRINUSE":
      return failed(`Something else listens at ${host}:${port} already.`, `Stop it, or choose another port with ${keys.port}.`);
    case "EADDRNOTAVAIL":
      return failed(`This machine has no address ${host}.`, `Name one that it has with ${keys.host}; 0.0.0.0 is all of them.`);
    case "ENOTFOUND":
      return failed(
        `This machine does not know the name ${host}.`,
        `Name an address that it has with ${keys.host}; 0.0.0.0 is all of them.`,
      );
    case "EACCES":
      return failed(`Port ${port} is for root only.`, `Choose a port above 1023 with ${keys.port}.`);
    default:
      return error;
  }
}
