import type { Sandbox } from "@caisson/contract";
import { Caisson, type WebhookDelivery } from "@caisson/sdk";
import { expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { WebhookReceiver } from "../harness/webhook-receiver.ts";

const QUICK = { CAISSON_WEBHOOKS__RETRIES: "50ms,100ms,100ms" };
const clientOf = (server: TestServer): Caisson => new Caisson({ url: server.url, apiKey: server.apiKey, adminApiKey: server.adminKey });
const create = async (server: TestServer): Promise<string> => (await server.json<Sandbox>("POST", "/sandboxes", {})).id;

async function deliveriesOf(client: Caisson, id: string): Promise<WebhookDelivery[]> {
  const all: WebhookDelivery[] = [];
  for await (const one of client.webhooks.deliveries(id, { pageSize: 2 })) all.push(one);
  return all;
}

it("sends every wanted event once, signed, in order, over failures, hanging up and redirects", async () => {
  await using server = await TestServer.start(QUICK);
  await using receiver = await WebhookReceiver.listen();
  const client = clientOf(server);
  const before = await create(server);
  const { id, secret, ...webhook } = await client.webhooks.create({ url: receiver.url, events: ["sandbox.*"] });
  expect(webhook).toMatchObject({ url: receiver.url, events: ["sandbox.*"], sandbox_id: null, active: true });
  const [{ seq: start } = { seq: 0 }] = await client.events.list({ types: ["webhook.created"] });
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  receiver.secrets.push(secret);
  let redirected = 0;
  receiver.answer = (response, count, { message }) => {
    if (message.type === "webhook.test") redirected += 1;
    if (count === 1) response.writeHead(500).end("x".repeat(5000));
    else if (count === 2) response.destroy();
    else if (count === 3) response.writeHead(307, { location: receiver.url }).end();
    else response.writeHead(200).end("thank you");
  };
  const made = await create(server);
  await server.json("POST", `/sandboxes/${made}/exec`, { command: "true" });
  await server.json("DELETE", `/sandboxes/${made}`);
  await server.json("DELETE", `/sandboxes/${before}`);
  const wanted = (await client.events.list({ types: ["sandbox.*"], limit: 1000 })).filter((event) => event.seq > start);
  await expect.poll(() => receiver.received.length).toBe(wanted.length + 3);
  // The first was sent four times, all with the same id and body; nothing overtook it; a redirect was not followed.
  expect(receiver.seqs).toEqual([...[1, 2, 3].map(() => wanted[0]?.seq), ...wanted.map((event) => event.seq)]);
  expect(new Set(receiver.received.slice(0, 4).map((one) => `${one.id} ${one.body}`)).size).toBe(1);
  expect(receiver.received.map((one) => one.message.data).slice(3)).toEqual(wanted);
  expect([redirected, receiver.errors]).toEqual([0, []]);

  await expect.poll(async () => (await deliveriesOf(client, id)).every((one) => one.status === "delivered")).toBe(true);
  const deliveries = await deliveriesOf(client, id);
  expect(deliveries.map((one) => one.seq)).toEqual(wanted.map((event) => event.seq).toReversed());
  expect(deliveries.at(-1)).toMatchObject({
    attempts: 4,
    response_code: 200,
    response_body: "thank you",
    error: null,
    next_attempt_at: null,
  });
  expect(deliveries[0]).toMatchObject({ attempts: 1, duration_ms: expect.any(Number) });

  const again = await client.webhooks.redeliver(id, deliveries[0]?.id ?? "");
  expect(again).toMatchObject({ status: "pending", attempts: 0 });
  await expect.poll(() => receiver.received.at(-1)?.id).toBe(again.id);
});

it("gives a message up after its retries and goes on with the next; tells what came back", async () => {
  await using server = await TestServer.start(QUICK);
  await using receiver = await WebhookReceiver.listen();
  const client = clientOf(server);
  const { id, secret } = await client.webhooks.create({ url: receiver.url, events: ["sandbox.created"] });
  receiver.secrets.push(secret);
  let broken = true;
  receiver.answer = (response) => void response.writeHead(broken ? 503 : 200).end("é".repeat(2000));
  await create(server);
  await expect.poll(async () => (await deliveriesOf(client, id))[0]?.status).toBe("failed");
  broken = false;
  await create(server);
  await expect.poll(async () => (await deliveriesOf(client, id))[0]?.status).toBe("delivered");
  const [, failed] = await deliveriesOf(client, id);
  expect(failed).toMatchObject({ status: "failed", attempts: 4, response_code: 503, next_attempt_at: null });
  expect(Buffer.byteLength(failed?.response_body ?? "")).toBeLessThanOrEqual(1026);
  expect(receiver.errors).toEqual([]);
});

it("loses and reorders nothing when the server is killed between two messages", async () => {
  await using server = await TestServer.start(QUICK);
  await using receiver = await WebhookReceiver.listen();
  const { secret } = await clientOf(server).webhooks.create({ url: receiver.url, events: ["sandbox.*", "process.*"] });
  receiver.secrets.push(secret);
  const { promise: third, resolve: thirdCame } = Promise.withResolvers<void>();
  receiver.answer = (response, count) => {
    // Taken, but the sender never hears of it.
    if (count === 3) thirdCame();
    else response.writeHead(204).end();
  };
  const made = await create(server);
  await server.json("POST", `/sandboxes/${made}/exec`, { command: "true" });
  await third;
  await server.kill9();
  await server.up();
  const client = clientOf(server);
  const exec = { command: "exit 3", background: true };
  await server.json("POST", `/sandboxes/${made}/exec`, exec);
  await server.json("DELETE", `/sandboxes/${made}`);
  const wanted = (await client.events.list({ limit: 1000, types: ["sandbox.*", "process.*"] })).map((event) => event.seq);
  // Until a lease that died with its holder has run out, nobody may send.
  await expect.poll(() => receiver.seqs.at(-1)).toBe(wanted.at(-1));
  const once = receiver.seqs.filter((seq, i) => receiver.seqs.indexOf(seq) === i);
  expect(once).toEqual(wanted);
  // Only the one whose answer was lost came twice, with one id.
  expect(receiver.seqs.length).toBe(once.length + 1);
  expect(new Set(receiver.received.map((one) => one.id)).size).toBe(once.length);
  expect(receiver.errors).toEqual([]);
});

it("can be tried, paused, changed, given another secret and deleted, by the admin key only", async () => {
  await using server = await TestServer.start(QUICK);
  await using receiver = await WebhookReceiver.listen();
  const client = clientOf(server);
  const { id, secret } = await client.webhooks.create({ url: receiver.url, events: ["sandbox.created"] });
  receiver.secrets.push(secret);
  expect(await client.webhooks.test(id)).toMatchObject({ type: "webhook.test", status: "delivered", response_code: 204, seq: null });
  expect(receiver.received[0]?.message).toMatchObject({ type: "webhook.test", data: { webhook_id: id } });

  await client.webhooks.update(id, { active: false });
  await create(server); // nobody hears of it
  const other = await client.webhooks.rotateSecret(id);
  expect(other.secret).not.toBe(secret);
  await client.webhooks.update(id, { active: true });
  const heard = await create(server);
  await expect.poll(() => receiver.received.length).toBe(2);
  const { message, headers, body } = receiver.received[1] ?? {};
  expect(message).toMatchObject({ type: "sandbox.created", data: { resource_id: heard } });
  // Signed by both for a day.
  receiver.secrets[0] = other.secret;
  expect(String(headers?.["webhook-signature"]).split(" ")).toHaveLength(2);
  await client.webhooks.test(id);
  expect(receiver.errors).toEqual([]);
  expect(body).not.toContain("whsec_");

  const listed = JSON.stringify([await client.webhooks.list(), await client.webhooks.get(id), await client.events.list({ limit: 1000 })]);
  for (const text of [secret, other.secret, server.output]) expect(listed.includes(text)).toBe(false);
  expect(server.output.includes("whsec_")).toBe(false);
  const told = (await client.events.list({ types: ["webhook.*"] })).map((event) => event.type);
  expect(told).toEqual(["webhook.created", "webhook.updated", "webhook.updated", "webhook.updated"]);

  for (const [method, path, json] of [
    ["POST", "/webhooks", { url: receiver.url }],
    ["GET", "/webhooks", undefined],
    ["PATCH", `/webhooks/${id}`, { active: false }],
    ["DELETE", `/webhooks/${id}`, undefined],
    ["POST", `/webhooks/${id}/test`, undefined],
  ] as const)
    expect((await server.fetch(method, path, json)).status).toBe(403);
  for (const url of ["ftp://x", "http://user:secret@x/", "nothing", "http://x/#y"])
    await expect(client.webhooks.create({ url })).rejects.toMatchObject({ code: "invalid_request" });
  await expect(client.webhooks.create({ url: receiver.url, events: ["sandbox"] })).rejects.toMatchObject({ code: "invalid_request" });
  await client.webhooks.delete(id);
  await expect(client.webhooks.get(id)).rejects.toMatchObject({ code: "webhook_not_found" });
  await expect(client.webhooks.test(id)).rejects.toMatchObject({ code: "webhook_not_found" });
});

it("does not wait for a receiver that hangs longer than it must, nor lets it hold up others", async () => {
  await using server = await TestServer.start({ CAISSON_WEBHOOKS__RETRIES: "1h" });
  await using hanging = await WebhookReceiver.listen();
  await using quick = await WebhookReceiver.listen();
  const client = clientOf(server);
  hanging.answer = () => undefined;
  const events = ["sandbox.created"];
  const slow = await client.webhooks.create({ url: hanging.url, events });
  hanging.secrets.push(slow.secret);
  const other = await client.webhooks.create({ url: quick.url, events });
  quick.secrets.push(other.secret);
  const closed = await WebhookReceiver.listen();
  const nobody = await client.webhooks.create({ url: closed.url, events });
  await closed[Symbol.asyncDispose]();
  await create(server);
  await create(server);
  await expect.poll(() => quick.received.length).toBe(2);
  await expect.poll(async () => (await deliveriesOf(client, nobody.id)).at(-1)?.error).toContain("ECONNREFUSED");
  await expect.poll(async () => (await deliveriesOf(client, slow.id)).at(-1)?.attempts).toBe(1);
  const [second, first] = await deliveriesOf(client, slow.id);
  expect(first).toMatchObject({ status: "pending", response_code: null, error: "Waited 15000 ms for an answer." });
  expect(second).toMatchObject({ status: "pending", attempts: 0 });
  expect(hanging.received).toHaveLength(1);
});
