import { CaissonError, type Clock, type GuestMethod } from "@caisson/contract";
import { serveGuest, type GuestHandler, type GuestHandlers } from "@caisson/guest";
import type { Link } from "@caisson/link";
import type { Duplex } from "node:stream";
import { mockAttributeHandlers } from "./mock-attribute-handlers.ts";
import { mockBoxHandlers } from "./mock-box-handlers.ts";
import { mockFileHandlers } from "./mock-file-handlers.ts";
import type { MockFiles } from "./mock-files.ts";
import { mockProcessHandlers } from "./mock-process-handlers.ts";
import { mockSearchHandlers } from "./mock-search-handlers.ts";
import { MockSession, type MockProcessSpec } from "./mock-session.ts";
import { mockTreeHandlers } from "./mock-tree-handlers.ts";
import { mockUploadHandlers } from "./mock-upload-handlers.ts";
import { mockUser } from "./mock-user.ts";
import { mockWatchHandlers } from "./mock-watch-handlers.ts";
import { runArgv } from "./shell.ts";
import type { MockCommand } from "./shell-state.ts";

const REMEMBERED = 256;

/** All methods. */
const GROUPS: readonly ((guest: MockGuest) => GuestHandlers)[] = [
  mockProcessHandlers,
  mockBoxHandlers,
  mockFileHandlers,
  mockAttributeHandlers,
  mockUploadHandlers,
  mockTreeHandlers,
  mockSearchHandlers,
  mockWatchHandlers,
];

/** What a mock guest is started with. */
export interface MockGuestOptions {
  readonly files: MockFiles;
  readonly clock: Clock;
  readonly hostname: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string | undefined;
  readonly workdir: string | undefined;
  /** Commands beside the built-in ones. */
  readonly commands: ReadonlyMap<string, MockCommand>;
  /** Programs that listen inside the box, by TCP port. */
  readonly ports: ReadonlyMap<number, (stream: IncomingStream) => Promise<void>>;
}

/** The far end of a Dial: what a scripted listener reads and writes. */
export interface IncomingStream extends AsyncIterable<Uint8Array> {
  write(bytes: Uint8Array): Promise<void>;
  end(): void;
}

/** The agent of a mock box: processes and files in this process's memory. */
export class MockGuest {
  readonly options: MockGuestOptions;
  readonly files: MockFiles;
  /** By the monotonic clock, in ms. */
  readonly bootedAt: number;
  /** Those that were asked for so far. */
  readonly #handlers: GuestHandlers[] = [];
  readonly #sessions = new Map<number, MockSession>();
  readonly #links = new Set<Link>();
  #nextId = 1;
  #ended = false;

  constructor(options: MockGuestOptions) {
    this.options = options;
    this.files = options.files;
    this.bootedAt = options.clock.monotonic();
  }

  get sessions(): readonly MockSession[] {
    return [...this.#sessions.values()];
  }

  /** Processes that run now. */
  get running(): number {
    return this.sessions.filter((session) => session.exit === undefined).length;
  }

  /** Whether it was shut down or crashed. */
  get ended(): boolean {
    return this.#ended;
  }

  session(id: number): MockSession {
    const session = this.#sessions.get(id);
    if (session === undefined) throw new CaissonError("process_not_found", `There is no process ${id}.`);
    return session;
  }

  start(spec: MockProcessSpec, env: Readonly<Record<string, string>>, userName: string | undefined): MockSession {
    const user = mockUser(userName);
    const { clock, hostname, commands, files } = this.options;
    const id = this.#nextId++;
    const session = new MockSession(id, 100 + id, spec, clock, (pid, signal) => {
      const other = this.sessions.find((candidate) => candidate.pid === pid && candidate.exit === undefined);
      return other?.signal(signal) ?? false;
    });
    this.#sessions.set(id, session);
    this.#forget();
    const base = { PATH: "/usr/bin:/bin", HOME: user.home, USER: user.name, LOGNAME: user.name, SHELL: "/bin/sh", LANG: "C.UTF-8" };
    const state = {
      files,
      clock,
      user,
      hostname,
      commands,
      process: session,
      env: new Map(Object.entries({ ...base, ...this.options.env, ...env })),
      cwd: spec.cwd,
      status: 0,
      args: ["sh"],
    };
    void session.run((io) => runArgv(spec.argv, state, io));
    return session;
  }

  /** Serves one connection. */
  accept(stream: Duplex): void {
    const link = serveGuest(stream, (method) => this.#handlerOf(method), this.options.clock);
    this.#links.add(link);
    void link.closed.then(() => this.#links.delete(link));
  }

  /** Ends every process and connection. */
  end(): void {
    this.#ended = true;
    for (const session of this.sessions) session.signal("KILL");
    for (const link of this.#links) link.close();
  }

  /** Groups of methods are made when one of them is called: most boxes are only asked whether they are there. */
  #handlerOf(method: GuestMethod): GuestHandler | undefined {
    for (const [at, make] of GROUPS.entries()) {
      const handler = (this.#handlers[at] ??= make(this))[method];
      if (handler !== undefined) return handler;
    }
    return undefined;
  }

  #forget(): void {
    const ended = this.sessions.filter((session) => session.exit !== undefined);
    for (const session of ended.slice(0, Math.max(0, ended.length - REMEMBERED))) this.#sessions.delete(session.id);
  }
}
