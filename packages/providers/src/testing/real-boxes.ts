import { accessSync, chmodSync, constants, mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { systemClock, systemRandom, type ProviderReport } from "@caisson/contract";
import { GuestClient, type ProcessSpec } from "@caisson/guest";
import { Link } from "@caisson/link";
import { removeFolder } from "../box/removal.ts";
import { makeTrialSkeleton } from "../box/trial-skeleton.ts";
import { bubblewrapProvider } from "../bubblewrap/bubblewrap-provider.ts";
import type { Box, BoxSpec, Handle, Provider, ProviderContext } from "../contract/provider.ts";
import { ociProvider } from "../oci/oci-provider.ts";

const TARGET = process.arch === "arm64" ? "aarch64-unknown-linux-gnu" : "x86_64-unknown-linux-gnu";
/** The agent of this checkout. */
export const AGENT: string = fileURLToPath(new URL(`../../../../agent/target/${TARGET}/release/caisson-agent`, import.meta.url));

/** What a command in a box said. */
export interface Said {
  readonly text: string;
  readonly code: number | null;
}

/** The ways to boot a box that this machine may have. */
export const WAYS = ["oci:crun", "oci:runc", "oci:runsc", "bubblewrap:bwrap"] as const;
export type Way = (typeof WAYS)[number];

/** Real boxes of one provider below a folder of their own; `close` leaves nothing. */
export class RealBoxes {
  readonly folder: string;
  readonly skeleton: string;
  readonly runtime: string;
  readonly #make: (context: ProviderContext) => Provider;
  readonly #name: string;
  provider: Provider;

  constructor(way: Way) {
    const [name = "", runtime = ""] = way.split(":");
    this.#name = name;
    this.runtime = runtime;
    this.#make = name === "oci" ? ociProvider : bubblewrapProvider;
    this.folder = mkdtempSync(join(tmpdir(), "caisson-boxes-"));
    chmodSync(this.folder, 0o700);
    this.skeleton = join(this.folder, "skeleton");
    mkdirSync(this.skeleton);
    makeTrialSkeleton(this.skeleton);
    this.provider = this.restarted();
  }

  /** Another provider on the same folder, as after a restart of the worker. */
  restarted(): Provider {
    this.provider = this.#make({
      dir: join(this.folder, this.#name),
      agentPath: AGENT,
      clock: systemClock,
      random: systemRandom,
      log: () => undefined,
    });
    return this.provider;
  }

  /** Why this way does not work here; undefined when it does. */
  async obstacle(): Promise<string | undefined> {
    if (process.getuid?.() !== 0) return "these suites switch users; a plain user's boxes have the suites named for them";
    try {
      accessSync(AGENT, constants.X_OK);
    } catch {
      return "the agent has not been built"; // scripts/build-agent.sh builds it
    }
    const report = await this.provider.probe();
    const runtime = report.runtimes.find((candidate) => candidate.name === this.runtime);
    return runtime?.available === true ? undefined : (runtime?.reason ?? report.reason ?? "the runtime is unknown");
  }

  spec(sandboxId: string, epoch: number, more: Partial<BoxSpec> = {}): BoxSpec {
    return {
      sandboxId,
      epoch,
      runtime: this.runtime,
      rootfs: { kind: "host", skeleton: this.skeleton },
      resources: {},
      env: {},
      hostname: "box",
      network: "none",
      ...more,
    };
  }

  start(sandboxId: string, epoch: number, more: Partial<BoxSpec> = {}): Promise<Box> {
    return this.provider.start(this.spec(sandboxId, epoch, more));
  }

  /** Runs a command in a box to its end. */
  async run(handle: Handle, process: string | ProcessSpec): Promise<Said> {
    const link = new Link(await this.provider.connect(handle), { role: "dialler", clock: systemClock });
    try {
      const running = await new GuestClient(link).exec(typeof process === "string" ? { command: process } : process);
      const decoder = new TextDecoder();
      let text = "";
      for await (const output of running) {
        if (output.type === "output") text += decoder.decode(output.bytes);
        if (output.type === "exit") return { text, code: output.exit.code };
      }
      return { text, code: null };
    } finally {
      link.close();
    }
  }

  /** The pid of a box's supervisor. */
  supervisorPid(sandboxId: string): number {
    return Number(readFileSync(join(this.folder, this.#name, sandboxId, "lock"), "utf8").split(" ")[0]);
  }

  /** Folder of a box on the machine. */
  boxFolder(sandboxId: string): string {
    return join(this.folder, this.#name, sandboxId);
  }

  async close(): Promise<void> {
    for (const box of await this.provider.list()) await this.provider.destroy(box.handle);
    await removeFolder(this.folder);
  }
}

/** Whether the run may not go on without this way: `REQUIRE_PROVIDERS` names it, or its provider. */
export function isRequired(way: string): boolean {
  const required = (process.env["REQUIRE_PROVIDERS"] ?? "").split(",");
  return required.includes(way) || required.includes(way.split(":")[0] ?? "");
}

/** The report's word on a capability of one runtime. */
export function capabilitiesOf(report: ProviderReport, runtime: string): ProviderReport["capabilities"] {
  return report.runtimes.find((candidate) => candidate.name === runtime)?.capabilities ?? report.capabilities;
}
