import { Caisson } from "@caisson/sdk";
import { freePort } from "@caisson/testkit";
import { TestFleet } from "./remote.ts";

/** Domain below which the worker of a direct fleet shows ports. */
export const WORKER_DOMAIN = "worker-a.localhost";

/** A server and a worker that clients can reach themselves. */
export interface DirectFleet extends AsyncDisposable {
  readonly fleet: TestFleet;
  /** Address of the worker. */
  readonly workerUrl: string;
}

/** `env` is for both, and overrides configuration (`CAISSON_…`). */
export async function startDirectFleet(env: Readonly<Record<string, string>> = {}): Promise<DirectFleet> {
  const address = `127.0.0.1:${await freePort()}`;
  const fleet = await TestFleet.start({
    CAISSON_WORKER__LISTEN_ADDR: address,
    CAISSON_WORKER__PUBLIC_URL: `http://${address}`,
    CAISSON_WORKER__PREVIEW_DOMAIN: WORKER_DOMAIN,
    ...env,
  });
  return { fleet, workerUrl: `http://${address}`, [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose]() };
}

/** A client, and which host each of its requests went to: `server` or `worker`, method and path. */
export function watchedClient(
  { fleet, workerUrl }: DirectFleet,
  options: { readonly direct?: boolean } = {},
): {
  readonly client: Caisson;
  readonly sent: { readonly to: "server" | "worker"; readonly what: string; readonly headers: Headers }[];
} {
  const sent: { to: "server" | "worker"; what: string; headers: Headers }[] = [];
  const client = new Caisson({
    url: fleet.server.url,
    apiKey: fleet.server.apiKey,
    fetch: (input, init) => {
      const url = new URL(input instanceof Request ? input.url : input);
      const what = `${init?.method ?? "GET"} ${url.pathname.replace(/\/sb[0-9a-z]{21}/, "/ID")}`;
      sent.push({ to: url.origin === workerUrl ? "worker" : "server", what, headers: new Headers(init?.headers) });
      return fetch(input, init);
    },
    ...options,
  });
  return { client, sent };
}
