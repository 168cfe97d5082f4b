import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { CaissonError, LINK_HEADERS, SCOPES } from "@caisson/contract";
import type { LinkAnswer, WorkerIdentity } from "@caisson/control";
import { issueCertificate, makeAuthority, makeSigningRequest, makeWorkerKey, readSigningRequest, type Authority } from "@caisson/identity";
import { SeededRandom, VirtualClock } from "@caisson/testkit";
import { readLinkRequest, refuseLink, switchToLink, type LinkRequest } from "@caisson/worker-link";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { WorkerDialler, type DialTarget } from "./worker-dialler.ts";

let clock: VirtualClock;
let stop: AbortController;
let targets: DialTarget[];
let adopted: string[];
let proofs: LinkAnswer[];
let asked: LinkRequest[];
let wake: (() => void)[];
/** What the machine does that is dialled. */
let answer: (request: LinkRequest, socket: Duplex, head: Buffer) => void;
/** Attempts that began and that failed, by worker. */
let begun: string[];
let roles: string[];
let failed: string[];
let sockets: Set<Duplex>;
let machine: Server;
let address: string;
let authority: Authority;
let ca: readonly string[];

const happened = (): void => {
  for (const one of wake.splice(0)) one();
};
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => wake.push(resolve));
}

beforeAll(async () => {
  authority = await makeAuthority("tests", Date.now());
});
beforeEach(async () => {
  [clock, stop, targets, adopted, proofs, asked, wake] = [new VirtualClock(), new AbortController(), [], [], [], [], []];
  [begun, failed, roles, ca] = [[], [], [], []];
  const note = (fields: object): void => {
    failed.push((fields as { worker_id: string }).worker_id);
    happened();
  };
  machine = createServer();
  sockets = new Set();
  address = await listen(machine);
  const identity = (workerId: string): WorkerIdentity => ({
    workerId,
    credential: "shared",
    tenantId: null,
    scopes: new Set(SCOPES),
    keyThumbprint: null,
    expiresAt: null,
    issuedAt: null,
    keyId: null,
  });
  const dialler = new WorkerDialler({
    controlPlaneId: "cp-1",
    identities: {
      introduce: async (workerId, nonce) => {
        if (nonce === undefined) begun.push(workerId);
        const shown = nonce === undefined ? {} : { authorization: `Bearer over-${nonce}`, [LINK_HEADERS.nonce]: "ours" };
        return { nonce: "ours", headers: { [LINK_HEADERS.workerId]: workerId, ...shown } };
      },
      verifyAnswer: async (workerId, _nonce, shown) => {
        proofs.push(shown);
        happened();
        if (shown.proof !== "right") throw new CaissonError("unauthorized", "The proof is wrong.");
        return identity(workerId);
      },
    },
    links: {
      has: (workerId) => adopted.includes(workerId),
      adopt: async (stream, role, { workerId }) => {
        stream.destroy();
        roles.push(role);
        adopted.push(workerId);
        happened();
      },
    },
    targets: async () => targets,
    trust: async () => ({ installation: "tests", authority: authority.certificate, ca }),
    clock,
    random: new SeededRandom(1),
    logger: { debug: note, info: note, warn: note, error: note },
  });
  void dialler.run(stop.signal);
});
afterEach(async () => {
  stop.abort();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => machine.close(resolve));
});

async function listen(at: Server): Promise<string> {
  at.on("connection", (socket: Duplex) => sockets.add(socket));
  at.on("upgrade", (message: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const request = readLinkRequest(message);
    asked.push(request);
    answer(request, socket, head);
    happened();
  });
  at.listen(0, "127.0.0.1");
  await once(at, "listening");
  return `127.0.0.1:${(at.address() as AddressInfo).port}`;
}

/** Listens with a certificate, and is dialled by TLS as the worker `w1`. */
async function dialTls(issuer: Authority, of: { workerId: string; installation?: string; addresses?: readonly string[] }): Promise<void> {
  const key = makeWorkerKey();
  const { publicKey } = await readSigningRequest(await makeSigningRequest(key, of.workerId));
  const ask = { publicKey, installation: "tests", now: Date.now(), ttlMs: 3_600_000, ...of };
  machine.close();
  machine = createTlsServer({ key, cert: (await issueCertificate(issuer, ask)).certificate }) as Server;
  machine.on("secureConnection", (socket: Duplex) => sockets.add(socket));
  targets = [{ workerId: "w1", address: `https://${await listen(machine)}` }];
  await nextAttempt();
}

/** Lets time pass until the next attempt begins, and waits for its end on the wire; how long it rested, in ms. */
async function nextAttempt(): Promise<number> {
  const [attempts, from] = [begun.length + 1, clock.monotonic()];
  while (begun.length < attempts) await clock.advance(500);
  const rested = clock.monotonic() - from;
  await until(() => failed.length === attempts || adopted.length > 0);
  return rested;
}

const challenge = (socket: Duplex): void =>
  refuseLink(socket, new CaissonError("unauthorized", "Who?"), { [LINK_HEADERS.nonce]: "theirs" });
const asWorker =
  (proof: string) =>
  ({ token }: LinkRequest, socket: Duplex, head: Buffer): void => {
    if (token === undefined) challenge(socket);
    else switchToLink(socket, head, { [LINK_HEADERS.workerId]: "w1", [LINK_HEADERS.proof]: proof });
  };

it("asks for a nonce, shows a token over it, and takes the link once the worker has proved itself", async () => {
  answer = asWorker("right");
  targets = [{ workerId: "w1", address }];
  await nextAttempt();
  expect([adopted, roles]).toEqual([["w1"], ["dialler"]]);
  expect(asked).toMatchObject([
    { token: undefined, workerId: "w1", controlPlane: "cp-1" },
    { token: "over-theirs", nonce: "ours", controlPlane: "cp-1" },
  ]);
  expect(proofs).toMatchObject([{ workerId: "w1", proof: "right" }]);
  await clock.advance(60_000);
  expect(begun).toHaveLength(1);
});

it("leaves a machine alone, ever longer, that does not prove to be the worker", async () => {
  answer = asWorker("wrong");
  targets = [{ workerId: "w1", address }];
  const rests: number[] = [];
  for (let times = 0; times < 7; times += 1) rests.push(await nextAttempt());
  expect(rests.at(-1)).toBeGreaterThan(10_000);
  expect(Math.max(...rests)).toBeLessThan(80_000);
  expect([adopted, proofs.length]).toEqual([[], 7]);
});

it("shows nothing to who opens links to anybody, or answers without a nonce", async () => {
  answer = (_request, socket, head) => void switchToLink(socket, head, {});
  targets = [{ workerId: "w1", address }];
  await nextAttempt();
  answer = (_request, socket) => refuseLink(socket, new CaissonError("forbidden", "No."));
  await nextAttempt();
  expect(asked).toHaveLength(2);
  expect(asked.every(({ token, nonce }) => token === undefined && nonce === undefined)).toBe(true);
});

it("gives up on a machine that takes the connection and says nothing, and is not held up by it", async () => {
  answer = ({ workerId, ...request }, socket, head) => {
    if (workerId === "w1") asWorker("right")({ workerId, ...request }, socket, head);
  };
  targets = [
    { workerId: "silent", address },
    { workerId: "w1", address },
  ];
  while (begun.length < 2) await clock.advance(500);
  await until(() => adopted.includes("w1") && asked.length === 3);
  expect(failed).toEqual([]);
  await clock.advance(10_000);
  await until(() => failed.length === 1);
  expect([failed, adopted]).toEqual([["silent"], ["w1"]]);
});

it("knows a worker over TLS by the certificate that the installation gave it, wherever it is", async () => {
  answer = asWorker("right");
  await dialTls(authority, { workerId: "w1" });
  expect([adopted, failed]).toEqual([["w1"], []]);
  // What the worker proves is held against it.
  expect(proofs[0]?.certificate).toBeInstanceOf(Uint8Array);
});

it("takes a certificate of another authority that is trusted for the host that is dialled", async () => {
  answer = asWorker("right");
  const other = await makeAuthority("others", Date.now());
  ca = [other.certificate];
  await dialTls(other, { workerId: "w1", addresses: ["127.0.0.1"] });
  expect([adopted, failed]).toEqual([["w1"], []]);
  // It says nothing of who the worker is.
  expect(proofs).toHaveLength(1);
  expect(proofs[0]).not.toHaveProperty("certificate");
});

it.each<[string, () => Promise<void>]>([
  ["of another worker of the installation", () => dialTls(authority, { workerId: "w2" })],
  ["of another worker, for this address", () => dialTls(authority, { workerId: "w2", addresses: ["127.0.0.1"] })],
  ["of a worker of the same name elsewhere", () => dialTls(authority, { workerId: "w1", installation: "elsewhere" })],
  [
    "of an authority that nobody trusts",
    async () => dialTls(await makeAuthority("tests", Date.now()), { workerId: "w1", addresses: ["127.0.0.1"] }),
  ],
  [
    "for another address",
    async () => {
      const other = await makeAuthority("others", Date.now());
      ca = [other.certificate];
      await dialTls(other, { workerId: "w1", addresses: ["127.0.0.2"] });
    },
  ],
])("asks nothing over TLS of who shows a certificate %s", async (_what, dial) => {
  answer = asWorker("right");
  await dial();
  expect([adopted, failed, asked]).toEqual([[], ["w1"], []]);
});
