import { systemClock, type Clock } from "@caisson/contract";
import { SignJWT } from "jose";
import { expect, it } from "vitest";
import { SignedTokens, type Grant } from "./signed-tokens.ts";

const KEY = new Uint8Array(32).fill(7);
const NOW = 1_800_000_000_000;
const at = (now: number): Clock => ({ ...systemClock, now: () => now });
const tokens = new SignedTokens(KEY, at(NOW));
const GRANT: Grant = { action: "file.read", sandboxId: "sb1", expiresAt: NOW + 60_000, path: "/a b", user: "root" };

it("gives back what was signed", async () => {
  expect(await tokens.verify(await tokens.sign(GRANT), "file.read", "sb1")).toEqual(GRANT);
});

it("opens nothing else, nowhere else, and not for longer", async () => {
  const token = await tokens.sign(GRANT);
  const code = { code: "unauthorized" };
  await expect(tokens.verify(token, "file.write", "sb1")).rejects.toMatchObject(code);
  await expect(tokens.verify(token, "file.read", "sb2")).rejects.toMatchObject(code);
  await expect(new SignedTokens(KEY, at(NOW + 60_000)).verify(token, "file.read", "sb1")).rejects.toMatchObject(code);
  await expect(new SignedTokens(KEY.with(0, 8), at(NOW)).verify(token, "file.read", "sb1")).rejects.toMatchObject(code);
});

it("takes no token that was altered, or signed otherwise", async () => {
  const token = await tokens.sign(GRANT);
  const [head, body, mark] = token.split(".") as [string, string, string];
  const other = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(body, "base64url").toString()), path: "/etc/shadow" }));
  const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
  const extra = await new SignJWT({ admin: true })
    .setProtectedHeader({ alg: "HS256" })
    .setAudience("file.read")
    .setSubject("sb1")
    .setExpirationTime(NOW / 1000 + 60)
    .sign(KEY);
  for (const bad of ["", "x", `${head}.${other.toString("base64url")}.${mark}`, `${none}.${body}.`, extra, token.slice(0, -2)]) {
    await expect(tokens.verify(bad, "file.read", "sb1")).rejects.toMatchObject({ code: "unauthorized" });
  }
});
