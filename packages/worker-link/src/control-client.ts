import {
  challengeReplySchema,
  heartbeatReplySchema,
  portAccessReplySchema,
  type CallOptions,
  type ChallengeReply,
  type ChannelOpener,
  type Heartbeat,
  type HeartbeatReply,
  type PortAccess,
  type PortAccessReply,
  type ProcessesChanged,
  type Renewal,
  type Report,
} from "@caisson/contract";
import { ask } from "./ask.ts";

/** What a worker may say to a control plane: `WorkerSession` on the other side answers. */
export interface ControlCalls {
  heartbeat(heartbeat: Heartbeat, options?: CallOptions): Promise<HeartbeatReply>;
  challenge(options?: CallOptions): Promise<ChallengeReply>;
  renew(renewal: Renewal, options?: CallOptions): Promise<void>;
  report(report: Report, options?: CallOptions): Promise<void>;
  processesChanged(changed: ProcessesChanged, options?: CallOptions): Promise<void>;
  portAccess(asked: PortAccess, options?: CallOptions): Promise<PortAccessReply>;
}

/** A control plane at the other end of a link, as a worker sees it. Deadlines are the caller's. */
export class ControlClient implements ControlCalls {
  readonly #opener: ChannelOpener;

  constructor(opener: ChannelOpener) {
    this.#opener = opener;
  }

  heartbeat(heartbeat: Heartbeat, options: CallOptions = {}): Promise<HeartbeatReply> {
    return ask(this.#opener, "control.heartbeat", heartbeat, heartbeatReplySchema, options);
  }

  challenge(options: CallOptions = {}): Promise<ChallengeReply> {
    return ask(this.#opener, "control.challenge", {}, challengeReplySchema, options);
  }

  async renew(renewal: Renewal, options: CallOptions = {}): Promise<void> {
    await ask(this.#opener, "control.renew", renewal, undefined, options);
  }

  async report(report: Report, options: CallOptions = {}): Promise<void> {
    await ask(this.#opener, "control.report", report, undefined, options);
  }

  async processesChanged(changed: ProcessesChanged, options: CallOptions = {}): Promise<void> {
    await ask(this.#opener, "control.processes", changed, undefined, options);
  }

  portAccess(asked: PortAccess, options: CallOptions = {}): Promise<PortAccessReply> {
    return ask(this.#opener, "control.port_access", asked, portAccessReplySchema, options);
  }
}
