import { duplexPair, type Duplex } from "node:stream";
import type { CaissonError, Clock } from "@caisson/contract";
import type { BoxSpec } from "../contract/provider.ts";
import { MockFiles } from "./mock-files.ts";
import { MockGuest, type IncomingStream } from "./mock-guest.ts";
import type { MockCommand } from "./shell-state.ts";

/** What goes wrong, on purpose. Set and cleared at any time. */
export interface MockFaults {
  /** Starts take this long, in ms of the machine's clock. */
  startDelayMs?: number;
  /** Starts fail with this, leaving nothing. */
  startError?: CaissonError;
  /** Connections fail with this. */
  connectError?: CaissonError;
  /** Connections are accepted and nothing answers. */
  agentSilent?: true;
}

/** One box of a mock machine. */
export interface MockBox {
  readonly spec: BoxSpec;
  readonly files: MockFiles;
  guest: MockGuest;
  status: "running" | "stopped";
  reason: string | undefined;
  readonly console: string[];
}

/** A machine in memory: what survives when a provider instance, and the server with it, is replaced. */
export class MockMachine {
  readonly clock: Clock;
  readonly boxes: Map<string, MockBox> = new Map();
  /** The highest epoch seen of each sandbox. */
  readonly epochs: Map<string, number> = new Map();
  /** Commands beside the built-in ones, for every box. */
  readonly commands: Map<string, MockCommand> = new Map();
  /** Programs that listen inside every box, by TCP port. */
  readonly ports: Map<number, (stream: IncomingStream) => Promise<void>> = new Map();
  /** Faults of every box. */
  readonly faults: MockFaults = {};
  /** Faults of one box; they come before those of every box. */
  readonly faultsOf: Map<string, MockFaults> = new Map();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** The faults that count for a sandbox now. */
  faultsFor(sandboxId: string): MockFaults {
    return { ...this.faults, ...this.faultsOf.get(sandboxId) };
  }

  /** Makes a box, or boots one that had stopped again on its files. */
  boot(spec: BoxSpec): MockBox {
    const before = this.boxes.get(spec.sandboxId);
    const files = before?.spec.epoch === spec.epoch ? before.files : new MockFiles(this.clock);
    const { hostname, env, user, workdir } = spec;
    const guest = new MockGuest({ files, clock: this.clock, hostname, env, user, workdir, commands: this.commands, ports: this.ports });
    const box: MockBox = { spec, files, guest, status: "running", reason: undefined, console: ["mock box booted; it isolates nothing"] };
    this.boxes.set(spec.sandboxId, box);
    return box;
  }

  /** The box dies by itself. */
  crash(sandboxId: string, reason: string = "it crashed"): void {
    const box = this.boxes.get(sandboxId);
    if (box !== undefined) this.halt(box, reason);
  }

  /** Ends the processes of a box; its files stay. */
  halt(box: MockBox, reason: string): void {
    if (box.status === "stopped") return;
    box.status = "stopped";
    box.reason = reason;
    box.console.push(`mock box ended: ${reason}`);
    box.guest.end();
  }

  /** Removes a box and all of it. */
  remove(sandboxId: string): void {
    const box = this.boxes.get(sandboxId);
    if (box === undefined) return;
    this.halt(box, "it was destroyed");
    this.boxes.delete(sandboxId);
  }

  /** A fresh stream to the agent of a box. */
  dial(box: MockBox): Duplex {
    const [near, far] = duplexPair();
    if (this.faultsFor(box.spec.sandboxId).agentSilent === true) far.resume();
    else box.guest.accept(far);
    return near;
  }
}
