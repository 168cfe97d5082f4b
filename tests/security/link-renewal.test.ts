import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  LINK_HEADERS,
  systemClock,
  workerCredentialsSchema,
  type Event,
  type Heartbeat,
  type Renewal,
  type WorkerInvitation,
} from "@caisson/contract";
import { makeSigningRequest, signProof } from "@caisson/identity";
import { Link } from "@caisson/link";
import { joinInstallation, type JoinedIdentity } from "@caisson/worker";
import { ControlClient, dialLink, workerLinkOptions } from "@caisson/worker-link";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { ONLY_MOCK } from "../harness/worker.ts";

/** Half of it is enough for all that is tried with one token, on a busy machine too. */
const TOKEN_MS = 20_000;
/** Far longer than a token lives. */
const PATIENCE = { timeout: 60_000, interval: 600 };

let server: TestServer;
const dirs: string[] = [];
const links: Link[] = [];

beforeAll(async () => {
  server = await TestServer.start({
    ...ONLY_MOCK,
    CAISSON_SERVER__LOCAL_WORKER: "off",
    CAISSON_WORKERS__TOKEN_TTL: `${TOKEN_MS}ms`,
  });
});
afterAll(async () => {
  for (const link of links) link.close();
  await server?.[Symbol.asyncDispose]();
  for (const dir of dirs) await rm(dir, { recursive: true, force: true });
});

const asAdmin = (): Record<string, string> => ({ "x-api-key": server.adminKey });

async function join_(id: string): Promise<JoinedIdentity> {
  const { token } = await server.json<WorkerInvitation>("POST", "/workers", { id }, { headers: asAdmin() });
  const dir = await mkdtemp(join(tmpdir(), "caisson-renewal-"));
  dirs.push(dir);
  return joinInstallation({ dir, url: server.url, token, caCertificates: [], clock: systemClock });
}

/** The next token of a worker. */
async function refresh(identity: JoinedIdentity): Promise<JoinedIdentity> {
  const { worker_id: id, refresh_token } = identity.credentials;
  const answer = await server.json<object>("POST", "/workers/refresh", { refresh_token, csr: await makeSigningRequest(identity.key, id) });
  return { ...identity, credentials: workerCredentialsSchema.parse(answer) };
}

const prove = ({ key, credentials: { issuer, worker_id: wid } }: JoinedIdentity, nonce: string): Promise<string> =>
  signProof(key, { nonce, aud: issuer, wid });
const endOf = ({ credentials }: JoinedIdentity): number => Date.parse(credentials.token_expires_at);

interface Linked {
  readonly link: Link;
  readonly control: ControlClient;
  /** Shows the token of an identity, with a proof of its key over a nonce of this link. */
  readonly show: (identity: JoinedIdentity, change?: Partial<Renewal>) => Promise<void>;
  /** Says that it is there; the code of the error when that is refused. */
  readonly beat: () => Promise<string>;
}

async function linked(identity: JoinedIdentity): Promise<Linked> {
  const { token, worker_id: id } = identity.credentials;
  const dial = (more: Record<string, string>): ReturnType<typeof dialLink> =>
    dialLink({
      url: server.url,
      headers: { authorization: `Bearer ${token}`, [LINK_HEADERS.workerId]: id, ...more },
      unreachable: "server_unreachable",
      signal: AbortSignal.timeout(20_000),
    });
  const first = await dial({});
  const nonce = first.kind === "refused" ? first.nonce : undefined;
  const second = await dial({ [LINK_HEADERS.proof]: await prove(identity, nonce ?? "") });
  if (second.kind === "refused") throw second.error;
  const link = new Link(
    second.stream,
    workerLinkOptions(second.stream, "worker", "dialler", (call) => call.reply({}, { fin: true })),
  );
  links.push(link);
  await link.ready;
  const control = new ControlClient(link);
  let sequence = 0;
  const amounts = { vcpus: 1, memory_mb: 64, disk_mb: 64, sandboxes: 0 };
  const said = { session: `${links.length}`, version: "0", now: 0, draining: true, labels: {}, capacity: amounts, used: amounts };
  const nowhere = { preview_domain: null, preview_url: null, public_url: null, advertise_addr: null };
  const heartbeat = (): Heartbeat => ({
    ...said,
    ...nowhere,
    sequence: ++sequence,
    providers_digest: "",
    images: [],
    on_control_loss: "run",
  });
  const one: Linked = {
    link,
    control,
    show: async (shown, change = {}) => {
      const proof = await prove(shown, (await control.challenge()).nonce);
      await control.renew({ token: shown.credentials.token, proof, ...change });
    },
    beat: () =>
      control.heartbeat(heartbeat()).then(
        () => "taken",
        (error: { code?: string }) => error.code ?? "",
      ),
  };
  expect(await one.beat()).toBe("taken");
  return one;
}

const because = (reason: string): object => ({ code: "unauthorized", detail: { reason } });
const refusals = async (id: string): Promise<unknown[]> => {
  const { items } = await server.json<{ items: Event[] }>("GET", "/events?type=worker.refused&limit=1000");
  return items.filter((event) => event.resource_id === id).map((event) => event.data["reason"]);
};

/** Resolves once a link is heard after this time. */
async function heardAfter(link: Linked, time: number): Promise<void> {
  const heard = async (): Promise<unknown> => {
    const late = Date.now() > time;
    return [await link.beat(), late];
  };
  await expect.poll(heard, PATIENCE).toEqual(["taken", true]);
}

/** The control plane ends a link when it hears of it after this time, and not before. */
async function endsAt(link: Linked, time: number): Promise<void> {
  await expect.poll(link.beat, PATIENCE).not.toBe("taken");
  expect(Date.now()).toBeGreaterThanOrEqual(time);
  expect(await link.link.closed).toMatchObject({ code: "unauthorized" });
}

it("a link lives on with the token that was shown last, and ends with that", { timeout: 120_000 }, async () => {
  const first = await join_("renews");
  const link = await linked(first);
  await heardAfter(link, endOf(first) - TOKEN_MS / 2);
  const second = await refresh(first);
  await link.show(second);
  await heardAfter(link, endOf(first));
  await endsAt(link, endOf(second));
  expect(await refusals("renews")).toEqual([]);
});

it("what would open no link of this worker renews none, and the link ends with its own token", { timeout: 120_000 }, async () => {
  const own = await join_("honest");
  const link = await linked(own);
  await heardAfter(link, endOf(own) - TOKEN_MS / 2);
  const next = await refresh(own);
  const other = await join_("other");
  await expect(link.show(other)).rejects.toMatchObject(because("wrong_worker"));
  await expect(link.show(next, { token: other.credentials.token })).rejects.toMatchObject(because("wrong_worker"));
  await expect(link.show({ ...next, key: other.key })).rejects.toMatchObject(because("key_mismatch"));
  await expect(link.show(next, { proof: "" })).rejects.toMatchObject(because("proof_invalid"));
  await expect(link.show(next, { proof: await prove(next, "a nonce of nobody") })).rejects.toMatchObject(because("nonce_invalid"));
  await expect(link.show(next, { token: "a-token-of-nobody" })).rejects.toMatchObject(because("unknown_token"));
  // What the one worker proves on its link is no good on another one's.
  const strange = await linked(other);
  const { nonce } = await strange.control.challenge();
  await expect(strange.control.renew({ token: next.credentials.token, proof: await prove(next, nonce) })).rejects.toMatchObject(
    because("wrong_worker"),
  );
  await expect.poll(() => refusals("other")).toContain("wrong_worker");
  await expect.poll(() => refusals("honest")).toEqual(expect.arrayContaining(["key_mismatch", "wrong_worker"]));
  await endsAt(link, endOf(own));
  expect(Date.now()).toBeLessThan(endOf(next));
});

it("a token that is over renews no link that is up", { timeout: 120_000 }, async () => {
  const first = await join_("late");
  const link = await linked(first);
  await heardAfter(link, endOf(first) - TOKEN_MS / 2);
  await link.show(await refresh(first));
  // Tokens are looked at by the whole second.
  await heardAfter(link, endOf(first) + 1_000);
  await expect(link.show(first)).rejects.toMatchObject(because("expired"));
  expect(await link.beat()).toBe("taken");
});

it("a revocation ends a link that was renewed at once, and nothing revoked renews one", { timeout: 120_000 }, async () => {
  const first = await join_("revoked");
  const link = await linked(first);
  const second = await refresh(first);
  await link.show(second);
  await server.json("POST", "/workers/revoked/revoke", {}, { headers: asAdmin() });
  expect(await link.link.closed).toMatchObject({ code: "unauthorized" });

  const again = await join_("revoked");
  const fresh = await linked(again);
  await expect(fresh.show(second)).rejects.toMatchObject(because("revoked"));
  await expect.poll(() => refusals("revoked")).toContain("revoked");
  await endsAt(fresh, endOf(again));
});
