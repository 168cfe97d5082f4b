import type { Clock } from "@caisson/contract";
import type { BoxSpec, Provider, RootFs } from "../provider.ts";

/** A provider under test and the machine around it. */
export interface ConformanceHarness {
  readonly provider: Provider;
  readonly clock: Clock;
  /** What boxes boot from; a fresh one per box when it is a function. */
  readonly rootfs: RootFs;
  /** Asked for by every start, where the provider has a choice. */
  readonly runtime?: string;
  /** Folder of the provider: nothing in it may be seen from a box. */
  readonly dir?: string;
  /** A new provider instance on the same machine, as after a restart of the worker. */
  restart(): Promise<Provider>;
  /** What boxes left behind: processes, mounts, control groups, sockets, folders. Empty when the machine is clean. */
  leftovers(): Promise<readonly string[]>;
  /** Ends everything the harness made. */
  dispose(): Promise<void>;
}

/** One run of the suite. */
export interface ConformanceOptions {
  /** Names the run, such as `oci:crun`. */
  readonly name: string;
  /** Makes the provider; throws when it does not work on this machine, which then skips or fails the run. */
  readonly make: () => Promise<ConformanceHarness>;
  /** Whether a provider that does not work here fails the run. Default: as `REQUIRE_PROVIDERS` says. */
  readonly required?: boolean;
  /** Longest a box may take to boot, in ms. Default 15 000. */
  readonly bootLimitMs?: number;
}

/** What a test may change about a box. */
export type BoxChanges = Partial<Omit<BoxSpec, "rootfs">>;

/** The names in `REQUIRE_PROVIDERS`: these may not be skipped. */
export function isRequired(name: string): boolean {
  return (process.env["REQUIRE_PROVIDERS"] ?? "").split(",").includes(name);
}
