import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "@caisson/contract";
import { ClusterKeys } from "@caisson/control";
import { openSqlite, type Store } from "@caisson/store";
import { SignJWT } from "jose";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openTokens } from "./open-tokens.ts";

const OLD_KEY = Buffer.alloc(32, 9);
const WEEK = 604_800_000;

let dir: string;
let store: Store;
let now = Date.UTC(2030, 0, 1);
const clock = { now: () => now };

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-tokens-"));
  store = await openSqlite({ path: join(dir, "caisson.db"), clock });
});
afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true, force: true });
});

const open = () => openTokens({ store, dataDir: dir, clock, keys: new ClusterKeys(store.clusterSecrets, clock, systemRandom) });
const oldLink = () =>
  new SignJWT({ port: 80 })
    .setProtectedHeader({ alg: "HS256" })
    .setAudience("port")
    .setSubject("sb1")
    .setExpirationTime(now / 1000 + 3600)
    .sign(OLD_KEY);

it("signs with the same key after a restart", async () => {
  const token = await (await open()).sign({ action: "port", sandboxId: "sb1", port: 80, expiresAt: now + 60_000 });
  expect(await (await open()).verify(token, "port", "sb1")).toMatchObject({ port: 80 });
});

it("takes over the key of links that were given out, for a week", async () => {
  const file = join(dir, "signing.key");
  await writeFile(file, `${OLD_KEY.toString("base64url")}\n`);
  const link = await oldLink();
  expect(await (await open()).verify(link, "port", "sb1")).toMatchObject({ port: 80 });
  await rm(file);
  // Another control plane, which has no such file.
  expect(await (await open()).verify(link, "port", "sb1")).toMatchObject({ port: 80 });
  await writeFile(file, `${OLD_KEY.toString("base64url")}\n`);
  now += WEEK;
  await expect((await open()).verify(await oldLink(), "port", "sb1")).rejects.toMatchObject({ code: "unauthorized" });
  expect(existsSync(file)).toBe(false);
});

it("takes links of the time before no more once all keys were replaced, without a restart", async () => {
  await writeFile(join(dir, "signing.key"), `${OLD_KEY.toString("base64url")}\n`);
  const [running, link] = [await open(), await oldLink()];
  expect(await running.verify(link, "port", "sb1")).toMatchObject({ port: 80 });
  await new ClusterKeys(store.clusterSecrets, clock, systemRandom).replace();
  for (const tokens of [running, await open()])
    await expect(tokens.verify(link, "port", "sb1")).rejects.toMatchObject({ code: "unauthorized" });
  expect(existsSync(join(dir, "signing.key"))).toBe(false);
});

it("takes no old links where there never was an old key, and says which file holds none", async () => {
  await expect((await open()).verify(await oldLink(), "port", "sb1")).rejects.toMatchObject({ code: "unauthorized" });
  await writeFile(join(dir, "signing.key"), "nonsense");
  await expect(open()).rejects.toMatchObject({ code: "invalid_request" });
});
