import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeAuthority } from "@caisson/identity";
import type { TlsOptions } from "@caisson/server";
import { VirtualClock } from "@caisson/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { advertisedAddress } from "./listen-address.ts";
import { openListenerTls } from "./listener-tls.ts";

let dir = "";
let own: { readonly cert: string; readonly key: string } | undefined;
const source = { clientCertificate: (): typeof own => own };
const listen_addr = "0.0.0.0:7430";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-listener-"));
  own = undefined;
});
afterEach(() => rm(dir, { recursive: true }));

async function made(name: string): Promise<{ readonly cert: string; readonly key: string }> {
  const { certificate: cert, key } = await makeAuthority(name, Date.now());
  return { cert, key };
}

it("speaks plain HTTP unless it is told otherwise, and says what does not go together", async () => {
  expect(openListenerTls({ listen_addr, tls: { own_certificate: false } }, source)).toBeUndefined();
  const refused = (message: RegExp): object =>
    expect.objectContaining({ code: "invalid_request", message: expect.stringMatching(message) }) as object;
  const open =
    (tls: object, at: string | undefined = listen_addr) =>
    () =>
      openListenerTls({ listen_addr: at === "" ? undefined : at, tls: { own_certificate: false, ...tls } }, source);
  expect(open({ own_certificate: true }, "")).toThrow(refused(/worker.listen_addr, which is not set/));
  expect(open({ own_certificate: true })).toThrow(refused(/it did not join/));
  expect(open({ cert_file: "/nowhere" })).toThrow(refused(/worker.tls.cert_file and worker.tls.key_file belong together/));
  expect(open({ cert_file: "/nowhere", key_file: "/nowhere" })).toThrow(refused(/cannot serve/));
  own = await made("own");
  expect(open({ own_certificate: true, cert_file: "/nowhere", key_file: "/nowhere" })).toThrow(refused(/both are set/));
});

it("shows the owner's certificate, or that of the worker as it is renewed", async () => {
  const files = { cert_file: join(dir, "cert.pem"), key_file: join(dir, "key.pem") };
  const owners = await made("owner");
  await Promise.all([writeFile(files.cert_file, owners.cert), writeFile(files.key_file, owners.key)]);
  own = await made("first");
  expect(openListenerTls({ listen_addr, tls: { own_certificate: false, ...files } }, source)?.current).toEqual({ ...owners, clientCa: [] });
  const opened = openListenerTls({ listen_addr, tls: { own_certificate: true } }, source);
  expect(opened?.current).toEqual({ ...own, clientCa: [] });
  const clock = new VirtualClock();
  const shown: TlsOptions[] = [];
  using _following = opened?.follow(
    (tls) => shown.push(tls),
    clock,
    () => undefined,
  );
  own = await made("second");
  await clock.advance(60_000);
  expect(shown).toEqual([{ ...own, clientCa: [] }]);
});

it("is dialled as it speaks, unless the configuration says how", () => {
  const config = (more: object): Parameters<typeof advertisedAddress>[0] => ({ ...more }) as Parameters<typeof advertisedAddress>[0];
  const url = "https://10.0.0.1:7430";
  expect(advertisedAddress(config({ listen_addr: "10.0.0.1:0" }), url)).toBe("https://10.0.0.1:7430");
  expect(advertisedAddress(config({ listen_addr: "10.0.0.1:0" }), "http://10.0.0.1:7430")).toBe("10.0.0.1:7430");
  expect(advertisedAddress(config({ listen_addr, advertise_addr: "w1.example.org:1" }), url)).toBe("https://w1.example.org:1");
  expect(advertisedAddress(config({ listen_addr, advertise_addr: "http://w1.example.org:1" }), url)).toBe("http://w1.example.org:1");
  // A proxy in front of it speaks TLS.
  expect(advertisedAddress(config({ listen_addr, advertise_addr: "https://w1.example.org:1" }), "http://0.0.0.0:7430")).toBe(
    "https://w1.example.org:1",
  );
});
