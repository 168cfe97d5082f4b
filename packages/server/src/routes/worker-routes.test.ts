import { providerReportSchema, workerPageSchema, workerSchema } from "@caisson/contract";
import { z } from "zod";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ADMIN_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";
import { MemoryWorkers, memoryWorker } from "../testing/memory-workers.ts";

let workers: MemoryWorkers;
let server: TestServer;
beforeEach(async () => {
  workers = new MemoryWorkers(["worker-a", "worker-b", "worker-c"].map((id) => memoryWorker(id)));
  server = await startTestServer({ workers });
});
afterEach(() => server[Symbol.asyncDispose]());

const admin = { headers: { "x-admin-api-key": ADMIN_KEY } };
const asAdmin = async (method: string, path: string): Promise<unknown> => (await server.call(method, path, admin)).json();

describe("workers", () => {
  it("are listed page by page, and by state", async () => {
    const ids = async (query: string) => workerPageSchema.parse(await (await server.call("GET", `/workers${query}`)).json());
    const first = await ids("?limit=2");
    expect([first.items.map((one) => one.id), first.next_cursor]).toEqual([["worker-a", "worker-b"], expect.any(String)]);
    const second = await ids(`?limit=2&cursor=${first.next_cursor}`);
    expect([second.items.map((one) => one.id), second.next_cursor]).toEqual([["worker-c"], null]);
    await workers.drain("worker-b");
    expect((await ids("?state=draining,unreachable")).items.map((one) => one.id)).toEqual(["worker-b"]);
  });

  it("are shown one by one", async () => {
    const shown = workerSchema.parse(await (await server.call("GET", "/workers/worker-a")).json());
    expect(shown).toMatchObject({ id: "worker-a", state: "online", draining: "no", capacity: { vcpus: 4 } });
    for (const id of ["worker-z", "NO SUCH", "-", "a".repeat(64)]) {
      const response = await server.call("GET", `/workers/${encodeURIComponent(id)}`);
      expect([response.status, await response.json()]).toMatchObject([404, { code: "worker_not_found" }]);
    }
  });

  it("are drained, undrained, revoked and removed by admins", async () => {
    expect(await asAdmin("POST", "/workers/worker-a/drain")).toMatchObject({ state: "draining", draining: "admin" });
    expect(await asAdmin("POST", "/workers/worker-a/undrain")).toMatchObject({ state: "online", draining: "no" });
    expect(await asAdmin("POST", "/workers/worker-a/revoke")).toMatchObject({ id: "worker-a" });
    expect(workers.revoked).toEqual(["worker-a"]);
    expect(await asAdmin("DELETE", "/workers/worker-a")).toMatchObject({ id: "worker-a", state: "removed" });
  });

  it("are not changed by others", async () => {
    for (const [method, path] of [
      ["POST", "/workers/worker-a/drain"],
      ["POST", "/workers/worker-a/undrain"],
      ["POST", "/workers/worker-a/revoke"],
      ["DELETE", "/workers/worker-a"],
      ["DELETE", "/workers/worker-a?force=true"],
      ["DELETE", "/admin/workers/worker-a"],
      ["GET", "/admin/workers"],
      ["GET", "/admin/workers/worker-a"],
    ] as const) {
      const response = await server.call(method, path);
      expect([path, response.status, await response.json()]).toMatchObject([path, 403, { code: "forbidden" }]);
    }
    expect(await workers.get("worker-a")).toMatchObject({ state: "online" });
  });

  it("that have sandboxes are kept, and the answer names them; `force` removes all", async () => {
    workers.sandboxes.set("worker-a", ["sb1", "sb2"]);
    const refused = await server.call("DELETE", "/workers/worker-a", admin);
    expect([refused.status, await refused.json()]).toMatchObject([
      409,
      {
        code: "worker_in_use",
        detail: { worker_id: "worker-a", sandbox_ids: ["sb1", "sb2"], count: 2 },
        remedy: expect.stringContaining("force"),
      },
    ]);
    const mistaken = await server.call("DELETE", "/workers/worker-a?force=yes", admin);
    expect([mistaken.status, await mistaken.json()]).toMatchObject([400, { code: "invalid_request", errors: [{ path: "force" }] }]);
    expect(await workers.get("worker-a")).toMatchObject({ state: "online" });
    expect(await asAdmin("DELETE", "/workers/worker-a?force=true")).toMatchObject({ state: "removed" });
  });

  it("are found below /admin as well", async () => {
    expect(workerPageSchema.parse(await asAdmin("GET", "/admin/workers")).items).toHaveLength(3);
    expect(await asAdmin("GET", "/admin/workers/worker-b")).toMatchObject({ id: "worker-b" });
    expect(await asAdmin("DELETE", "/admin/workers/worker-b")).toMatchObject({ id: "worker-b", state: "removed" });
    expect((await workers.list({})).items.map((one) => one.id)).toEqual(["worker-a", "worker-c"]);
  });
});

describe("providers", () => {
  it("are those of the workers that are online, each as it works best", async () => {
    const [report] = memoryWorker("x").providers;
    const oci = { ...providerReportSchema.parse(report), name: "oci", default: undefined };
    workers = new MemoryWorkers([
      memoryWorker("worker-a", { providers: [{ ...oci, available: false, reason: "no runtime" }] }),
      memoryWorker("worker-b", { state: "draining", providers: [oci] }),
      memoryWorker("worker-c", { state: "unreachable", late: true, providers: [{ ...oci, name: "bubblewrap" }] }),
    ]);
    await using other = await startTestServer({ workers });
    const answer: unknown = await (await other.call("GET", "/providers")).json();
    expect(z.object({ items: z.array(providerReportSchema) }).parse(answer).items).toMatchObject([{ name: "oci", available: true }]);
    expect((await other.call("GET", "/providers/bubblewrap")).status).toBe(404);
  });
});
