import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { verifyWebhook } from "./index.ts";

const SECRET = `whsec_${Buffer.from("a secret of the test, long enough").toString("base64")}`;
const NOW = 1_800_000_000_000;
const BODY = JSON.stringify({ type: "sandbox.created", timestamp: "2027-01-15T08:00:00.000Z", data: { text: "äß" } });

function sign(id: string, seconds: number, body: string, secret = SECRET): string {
  const key = Buffer.from(secret.slice(6), "base64");
  return `v1,${createHmac("sha256", key).update(`${id}.${seconds}.${body}`).digest("base64")}`;
}

const headers = (change: Record<string, string> = {}): Record<string, string> => ({
  "webhook-id": "wd1",
  "webhook-timestamp": String(NOW / 1000),
  "webhook-signature": sign("wd1", NOW / 1000, BODY),
  ...change,
});

test("takes what is signed by the secret, as text or bytes, from any kind of headers, by any of several signatures", async () => {
  const options = { now: NOW + 200_000 };
  expect((await verifyWebhook(BODY, headers(), SECRET, options)).data).toEqual({ text: "äß" });
  expect((await verifyWebhook(Buffer.from(BODY), new Headers(headers()), SECRET, options)).type).toBe("sandbox.created");
  const two = `v1,${Buffer.from("wrong").toString("base64")} v2,x ${headers()["webhook-signature"]}`;
  expect((await verifyWebhook(BODY, headers({ "webhook-signature": two }), SECRET, options)).type).toBe("sandbox.created");
});

test.each([
  ["another body", `${BODY} `, headers(), NOW],
  ["another id", BODY, headers({ "webhook-id": "wd2" }), NOW],
  ["an old time", BODY, headers(), NOW + 301_000],
  ["a time to come", BODY, headers(), NOW - 301_000],
  ["another time", BODY, headers({ "webhook-timestamp": String(NOW / 1000 + 1) }), NOW],
  ["no signature", BODY, headers({ "webhook-signature": "" }), NOW],
  ["another secret", BODY, headers({ "webhook-signature": sign("wd1", NOW / 1000, BODY, `whsec_${"b".repeat(32)}`) }), NOW],
  ["another version", BODY, headers({ "webhook-signature": sign("wd1", NOW / 1000, BODY).replace("v1", "v9") }), NOW],
  ["no base64", BODY, headers({ "webhook-signature": "v1,###" }), NOW],
  ["no time", BODY, headers({ "webhook-timestamp": "now" }), NOW],
])("refuses %s", async (_what, body, given, now) => {
  await expect(verifyWebhook(body, given, SECRET, { now })).rejects.toMatchObject({ code: "unauthorized" });
});
