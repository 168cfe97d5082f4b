import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { removeFolder } from "../box/removal.ts";
import { AGENT, isRequired } from "../testing/real-boxes.ts";

/** Nobody's id, for a root that tests what a plain user can do. */
const PLAIN_USER = 62_001;
const LIFE = fileURLToPath(new URL("../testing/plain-user-life.ts", import.meta.url));

interface Life {
  readonly obstacle?: string;
  readonly report: { readonly capabilities: Readonly<Record<string, boolean>>; readonly limits: Readonly<Record<string, string>> };
  readonly refused: string;
  readonly forked: string;
  readonly lines: readonly string[];
  readonly left: readonly string[];
}

describe("bubblewrap as a plain user", () => {
  const folder = mkdtempSync(join(tmpdir(), "caisson-plain-"));
  let life: Life;

  beforeAll(() => {
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) chownSync(folder, PLAIN_USER, PLAIN_USER);
    chmodSync(folder, 0o700);
    const options = { encoding: "utf8", timeout: 180_000, cwd: "/", ...(isRoot ? { uid: PLAIN_USER, gid: PLAIN_USER } : {}) } as const;
    try {
      life = JSON.parse(execFileSync(process.execPath, ["--conditions=@caisson/source", LIFE, folder, AGENT], options)) as Life;
    } catch (error) {
      life = { obstacle: `a plain user cannot run this checkout: ${String(error)}` } as Life;
    }
    if (life.obstacle !== undefined && isRequired("bubblewrap:user")) throw new Error(life.obstacle);
  });
  afterAll(() => removeFolder(folder));

  it("boots a box with the same wall and leaves nothing", ({ skip }) => {
    skip(life.obstacle !== undefined, life.obstacle);
    expect(life.lines).toEqual([
      "user",
      "CapEff:\t0000000000000000",
      "CapBnd:\t0000000000000000",
      "NoNewPrivs:\t1",
      "Seccomp:\t2",
      "x",
      "kept",
    ]);
    expect(life.left).toEqual([]);
  });

  it("holds the limit on processes without any control group", ({ skip }) => {
    skip(life.obstacle !== undefined, life.obstacle);
    expect(life.forked).not.toContain("all");
  });

  it("refuses what it cannot enforce, with the reason", ({ skip }) => {
    skip(life.obstacle !== undefined, life.obstacle);
    expect(life.report.capabilities).toMatchObject({ limit_memory: false, limit_cpu: false, limit_pids: true, users: false, pty: true });
    expect(life.report.limits["limit_memory"]).toContain("control group");
    expect(life.refused).toBe("unsupported");
  });
});
