import type { Event, ExecLogEntry, Process, Sandbox as SandboxInfo } from "@caisson/contract";
import type { Sandbox } from "@caisson/sdk";
import { beforeAll, expect, it } from "vitest";
import type { ApiAccess } from "../harness/api-access.ts";
import type { SandboxTarget } from "./sandbox-target.ts";

/** What is remembered of processes. */
export function execLog(target: () => SandboxTarget): void {
  let api: ApiAccess;
  beforeAll(() => {
    ({ api } = target());
  });

  const create = (): Promise<Sandbox> => target().create({ env: { SECRET_ENV: "env-secret-1" } });
  const historyOf = (id: string): Promise<{ items: ExecLogEntry[] }> => api.json("GET", `/sandboxes/${id}/exec-log`);
  const exitsOf = async (id: string): Promise<Event[]> =>
    (await api.client().events.list({ sandboxId: id, types: ["process.exited"], limit: 1000 })) as Event[];

  it("records every way to run something, and how it ended", async () => {
    const sandbox = await create();
    const exec = (body: object): Promise<Process> => api.json("POST", `/sandboxes/${sandbox.id}/exec`, body);
    await exec({ command: "exit 3" });
    await exec({ command: "printf", args: ["a b"], user: "root", workdir: "/tmp" });
    await api.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "sleep 60", timeout: "50ms" });
    await (await api.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "kill -9 $$", stream: true })).text();
    const running = await exec({ command: "sleep 60", background: true });
    // Each control plane writes down what it started; another one reads it a moment later.
    await expect.poll(async () => (await historyOf(sandbox.id)).items.length).toBe(5);
    const { items } = await historyOf(sandbox.id);
    expect(items).toMatchObject([
      { process_id: running.process_id, kind: "background", command: "sleep 60", ended_at: null, exit_code: null },
      { kind: "exec", command: "kill -9 $$", exit_code: 137, signal: "KILL" },
      { kind: "exec", command: "sleep 60", timed_out: true, exit_code: 137 },
      { kind: "exec", command: "printf", args: ["a b"], user: "root", workdir: "/tmp", exit_code: 0, stdout_bytes: 3, stderr_bytes: 0 },
      { kind: "exec", command: "exit 3", args: [], user: null, workdir: null, exit_code: 3, key: "api", request_id: expect.any(String) },
    ]);
    for (const entry of items.slice(1)) expect(Date.parse(entry.ended_at ?? "")).toBeGreaterThanOrEqual(Date.parse(entry.started_at));

    const paged: number[] = [];
    for await (const entry of sandbox.history({ pageSize: 2 })) paged.push(entry.process_id);
    expect(paged).toEqual(items.map((entry) => entry.process_id));

    await sandbox.destroy();
    const after = await historyOf(sandbox.id);
    expect(after.items[0]).toMatchObject({ process_id: running.process_id, ended_at: expect.any(String), exit_code: null });
    expect(after.items.slice(1)).toEqual(items.slice(1));
    const events = (await api.client().events.list({ sandboxId: sandbox.id, limit: 1000 })).map(
      (event) => `${event.type} ${event.resource_id}`,
    );
    for (const { process_id: id } of items) {
      const [begun, ended] = [events.indexOf(`process.started ${id}`), events.indexOf(`process.exited ${id}`)];
      expect(begun).toBeGreaterThan(0);
      expect(ended).toBeGreaterThan(begun);
      expect(events.indexOf(`sandbox.destroyed ${sandbox.id}`)).toBeGreaterThan(ended);
    }
    expect(new Set(events).size).toBe(events.length);
  });

  it("hears of the end of a background process without being asked, however many there are", async () => {
    await using sandbox = await create();
    const stream = api.client().events.stream({ sandboxId: sandbox.id, types: ["process.exited"], after: 0 });
    const count = 80; // more than are waited for one by one
    await Promise.all(
      Array.from({ length: count }, (_, i) =>
        api.json("POST", `/sandboxes/${sandbox.id}/exec`, { command: `sleep 1; exit ${i % 5}`, background: true }),
      ),
    );
    const codes: unknown[] = [];
    for await (const event of stream) {
      if (event.type !== "gap") codes.push(event.data["exit_code"]);
      if (codes.length === count) break;
    }
    const wanted = Array.from({ length: count }, (_, i) => i % 5);
    expect(codes.map(String).toSorted()).toEqual(wanted.map(String).toSorted());
  });

  it("keeps no secret in the log, in events or in the server's own log", async () => {
    await using sandbox = await create();
    await sandbox.commands.run("cat; echo out-secret-3; echo err-secret-4 >&2", {
      env: { TOKEN: "env-secret-2" },
      stdin: "stdin-secret-5",
    });
    const background = await sandbox.commands.spawn("cat > /dev/null; sleep 0.1", {
      env: { TOKEN: "env-secret-2" },
      stdin: "stdin-secret-5",
    });
    await sandbox.files.write("/home/user/file-secret.txt", "content-secret-6");
    await expect.poll(async () => (await exitsOf(sandbox.id)).length).toBe(2);
    expect(background).toBeDefined();
    const everything = [
      JSON.stringify(await historyOf(sandbox.id)),
      JSON.stringify(await api.client().events.list({ limit: 1000 })),
      JSON.stringify(await api.json<SandboxInfo>("GET", `/sandboxes/${sandbox.id}`)),
      target().traces.output,
    ];
    for (const secret of ["env-secret", "stdin-secret", "content-secret", api.apiKey, api.adminKey])
      for (const text of everything) expect(text.includes(secret)).toBe(false);
    for (const said of ["out-secret-3\\n", "err-secret-4\\n"]) expect(everything.join().includes(said)).toBe(false);
    const events = everything[1] ?? "";
    expect(events.includes("out-secret")).toBe(false); // commands are for the exec log only
  });

  it("refuses a wrong cursor and an unknown sandbox", async () => {
    await using sandbox = await create();
    expect((await api.fetch("GET", `/sandboxes/${sandbox.id}/exec-log?cursor=x`)).status).toBe(400);
    expect((await api.fetch("GET", `/sandboxes/sb0000000000000000000a1/exec-log`)).status).toBe(404);
  });
}
