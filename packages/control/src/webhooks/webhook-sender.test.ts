import { systemRandom } from "@caisson/contract";
import { openSqlite, type Store } from "@caisson/store";
import { VirtualClock } from "@caisson/testkit";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { WebhookSender } from "./webhook-sender.ts";

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const SETTINGS = { url: "http://receiver.example", events: ["worker.*"], sandboxId: null, active: true };

let store: Store;
let clock: VirtualClock;
let stop: AbortController;
let running: Promise<void>;
let looks = 0;
let sent: string[] = [];
let sender: WebhookSender;

beforeEach(async () => {
  clock = new VirtualClock();
  store = await openSqlite({ path: ":memory:", clock });
  stop = new AbortController();
  looks = 0;
  sent = [];
  const list = store.webhooks.list.bind(store.webhooks);
  vi.spyOn(store.webhooks, "list").mockImplementation(() => {
    looks += 1;
    return list();
  });
  const send = ({ body }: { readonly body: string }) => {
    sent.push((JSON.parse(body) as { readonly data: { readonly resource_id: string } }).data.resource_id);
    return Promise.resolve({ status: 204, body: "" });
  };
  sender = new WebhookSender({ clock, random: systemRandom, store, logger: quiet, send, retriesMs: [] });
  running = sender.run(stop.signal);
  await vi.waitUntil(() => looks === 1);
});
afterEach(async () => {
  stop.abort();
  await running;
  await store.close();
});

it("does not look for webhooks at each event while there are none", async () => {
  for (const id of ["a", "b", "c"]) await store.workers.add(id, { tenantId: null });
  await new Promise(setImmediate);
  expect(looks).toBe(1);
});

it("finds one that was made elsewhere within its longest rest, and then hears each event", async () => {
  await store.webhooks.create("wh1", SETTINGS, "whsec_eA==");
  await store.workers.add("a", { tenantId: null });
  await clock.advance(2_000);
  await vi.waitFor(() => expect(sent).toEqual(["a"]));
  await store.workers.add("b", { tenantId: null });
  await vi.waitFor(() => expect(sent).toEqual(["a", "b"]));
});

it("serves one that was made here at once", async () => {
  await store.webhooks.create("wh1", SETTINGS, "whsec_eA==");
  sender.nudge();
  await store.workers.add("a", { tenantId: null });
  await vi.waitFor(() => expect(sent).toEqual(["a"]));
});
