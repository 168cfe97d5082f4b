import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeAuthority } from "@caisson/identity";
import type { TlsOptions } from "@caisson/server";
import { VirtualClock } from "@caisson/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openTlsFiles } from "./tls-files.ts";

let dir = "";
let files: { cert_file: string; key_file: string };
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-tls-"));
  files = { cert_file: join(dir, "cert.pem"), key_file: join(dir, "key.pem") };
});
afterEach(() => rm(dir, { recursive: true }));

async function put(name: string): Promise<string> {
  const { certificate, key } = await makeAuthority(name, Date.now());
  await writeFile(files.cert_file, certificate);
  await writeFile(files.key_file, key);
  return certificate;
}

it("serves nothing where nothing is named, and refuses what cannot serve", async () => {
  expect(openTlsFiles({}, [])).toBeUndefined();
  expect(() => openTlsFiles({ cert_file: files.cert_file }, [])).toThrow(/belong together/);
  expect(() => openTlsFiles(files, [])).toThrow(/cannot serve/);
  await put("one");
  await writeFile(files.key_file, (await makeAuthority("two", Date.now())).key);
  expect(() => openTlsFiles(files, [])).toThrow(expect.objectContaining({ code: "invalid_request" }));
});

it("follows files that are replaced, and keeps the old certificate while the new one does not fit", async () => {
  const first = await put("one");
  const clock = new VirtualClock();
  const opened = openTlsFiles(files, []);
  const seen: TlsOptions[] = [];
  const log: string[] = [];
  using _following = opened?.follow(
    (tls) => seen.push(tls),
    clock,
    (_level, message) => void log.push(message),
  );
  await clock.advance(60_000);
  expect(seen).toEqual([]);
  await writeFile(files.cert_file, "not a certificate");
  await clock.advance(60_000);
  expect(opened?.current.cert).toBe(first);
  expect(log).toEqual(["the server's new certificate cannot be used; the old one stays"]);
  const second = await put("two");
  await clock.advance(60_000);
  expect(seen.map((tls) => tls.cert)).toEqual([second]);
  expect(opened?.current.cert).toBe(second);
});
