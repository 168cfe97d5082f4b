import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import type { Sandbox } from "@caisson/contract";
import { describe, expect, it } from "vitest";
import { Lab } from "../harness/lab/lab.ts";
import { labMissing } from "../harness/lab/lab-place.ts";
import { seconds } from "../harness/lab/under-fault.ts";
import { attempt } from "../harness/load/attempt.ts";
import { ndjson } from "../harness/ndjson.ts";

/** Time after which the silence of another control plane is noticed, and what two busy cores need besides, in ms. */
const NOTICED_MS = 20_000 + 5_000;

describe.skipIf(labMissing() !== undefined)("two control planes, one of which lost its worker", { timeout: 300_000 }, () => {
  it("what goes by way of the other ends by name when all packets between the two are lost", async () => {
    await using lab = await Lab.start({ controlPlanes: 2, workers: 1 });
    const far = lab.control("cp1");
    const { id } = await lab.control("cp2").json<Sandbox>("POST", "/sandboxes", {});
    const path = `/sandboxes/${id}`;
    await lab.network.cut("w1", "cp1");
    const run = (): ReturnType<typeof attempt> => attempt(far, "POST", `${path}/exec`, { body: { command: "true" }, timeoutMs: 5_000 });
    await expect.poll(run, { timeout: 60_000 }).toMatchObject({ kind: "done", body: { exit_code: 0 } });

    const stream = ndjson(await far.fetch("POST", `${path}/exec`, { command: "echo begun; sleep 1000", stream: true }));
    expect((await stream.next()).value).toMatchObject({ type: "start" });
    expect((await stream.next()).value).toMatchObject({ type: "output" });
    const headers = { "x-api-key": far.apiKey, "content-type": "application/octet-stream" };
    const upload = request(`${far.url}/api/v1${path}/files?path=/home/user/half`, { method: "PUT", agent: false, headers });
    upload.on("error", () => undefined);
    const answered = once(upload, "response") as Promise<[IncomingMessage]>;
    // Far more than fits on the way: it is sent for as long as somebody takes it.
    const piece = Buffer.alloc(65_536);
    let sent = 0;
    const send = (): void => {
      do sent += piece.length;
      while (upload.write(piece));
    };
    const flows = new Promise<void>((resolve) => {
      upload.on("drain", () => {
        if (sent > 32 * 1_048_576) resolve();
        send();
      });
    });
    send();
    await flows;
    await lab.network.cut("cp1", "cp2");
    const cut = performance.now();
    expect((await stream.next()).value).toMatchObject({ type: "error", code: "worker_unavailable" });
    const streamEnded = performance.now() - cut;
    const [answer] = await answered;
    const uploadEnded = performance.now() - cut;
    upload.destroy();
    console.log(`the stream ended after ${seconds(streamEnded)} s, the upload after ${seconds(uploadEnded)} s`);
    expect(answer.statusCode).toBe(503);
    expect(Math.max(streamEnded, uploadEnded)).toBeLessThan(NOTICED_MS);
    expect(await run()).toMatchObject({ kind: "refused", status: 503, code: "worker_unavailable" });
    await lab.network.heal("cp1", "cp2");
    await expect.poll(run, { timeout: 30_000 }).toMatchObject({ kind: "done" });
    await lab.network.healAll();
  });
});
