import type { Clock, Random } from "@caisson/contract";
import type { DataOperations, ImageOperations, Operations, WorkerIdentities, WorkerOperations } from "@caisson/control";
import type { GrantSigner, GrantVerifier, SandboxAccess } from "@caisson/identity";
import type { FastifyBaseLogger } from "fastify";
import type { KeyVerifier } from "./auth/key-verifier.ts";
import type { TlsOptions } from "./http/tls-options.ts";
import type { PreviewOptions } from "./previews/preview-options.ts";
import type { SiblingsOptions } from "./siblings/siblings.ts";
import type { WorkerLinks } from "./worker-links/worker-links.ts";

/** Bounds of the HTTP side. */
export interface ServerLimits {
  /** Largest JSON body of routes that take small ones, in bytes. */
  readonly jsonBodyBytes: number;
  /** Time for a request's head to arrive, in ms. */
  readonly headersTimeoutMs: number;
  /** Time for a JSON body to arrive, in ms. */
  readonly bodyTimeoutMs: number;
  /** Longest pause of a client that uploads, in ms. */
  readonly uploadIdleMs: number;
  /** How long an idle connection is kept, in ms. */
  readonly keepAliveMs: number;
  /** How long `close` waits for requests before it breaks their connections, in ms. */
  readonly closeDeadlineMs: number;
  /** Most entries of a file listing. */
  readonly listEntries: number;
  /** How long a sandbox may be silent in the middle of a file or a listing, in ms. */
  readonly guestSilenceMs: number;
  /** How much longer than its timeout a command may take to be reported ended, in ms. */
  readonly execGraceMs: number;
  /** How often a WebSocket's peer is asked whether it is there, in ms; after three silent times it counts as gone. */
  readonly webSocketPingMs: number;
  /** Time between signs that code or a search which says nothing still runs, in ms: clients and proxies give silent answers up after minutes. */
  readonly aliveMs: number;
  /** Time for a connection to a port of a sandbox, in ms. */
  readonly portConnectMs: number;
  /** How long a server in a sandbox may think before its answer begins, in ms. What follows is not bounded. */
  readonly previewHeadMs: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  jsonBodyBytes: 1_048_576,
  headersTimeoutMs: 20_000,
  bodyTimeoutMs: 60_000,
  uploadIdleMs: 120_000,
  keepAliveMs: 75_000,
  closeDeadlineMs: 10_000,
  listEntries: 100_000,
  guestSilenceMs: 30_000,
  execGraceMs: 15_000,
  webSocketPingMs: 20_000,
  aliveMs: 15_000,
  portConnectMs: 10_000,
  previewHeadMs: 300_000,
};

/** What the server is made of. */
export interface ServerOptions {
  readonly operations: Operations;
  readonly images: ImageOperations;
  readonly workers: WorkerOperations;
  readonly keys: KeyVerifier;
  /** Signs and checks links and tokens. */
  readonly tokens: ServerTokens;
  /** Version that health answers show. */
  readonly version: string;
  /** Origins that browsers may call from, such as `https://app.example.org`; empty for none. */
  readonly corsAllowedOrigins: readonly string[];
  /** Where ports of sandboxes are shown. */
  readonly previews: PreviewOptions;
  /** Timeout of commands that name none, in ms; 0 for none. */
  readonly execTimeoutMs: number;
  /** Longest timeout of a command, in ms; 0 for no bound. */
  readonly maxExecTimeoutMs: number;
  /** With it the server speaks HTTPS only. */
  readonly tls?: TlsOptions;
  /** Who is a worker. Absent: nobody can become one here. */
  readonly identities?: WorkerIdentities;
  /** Links with workers; closed with the server. Absent: none are taken. */
  readonly workerLinks?: WorkerLinks;
  /** Other control planes, to which requests are passed on that need a link which this one lacks. Absent: none are. */
  readonly siblings?: SiblingsOptions;
  readonly limits?: Partial<ServerLimits>;
  readonly logger: FastifyBaseLogger;
  readonly clock: Clock;
  readonly random: Random;
}

/** Tokens of a control plane. */
export interface ServerTokens extends GrantSigner, GrantVerifier {
  /** A token that lets a client do its work in one sandbox on the worker itself. */
  signAccess(access: SandboxAccess): Promise<string>;
}

/** What the routes work with. */
export interface Services extends Omit<ServerOptions, "limits"> {
  readonly limits: ServerLimits;
}

/** What routes work with that a worker has too: those of what is done inside a sandbox. */
export interface DataServices extends Pick<
  Services,
  "version" | "corsAllowedOrigins" | "execTimeoutMs" | "maxExecTimeoutMs" | "logger" | "clock" | "random" | "limits"
> {
  readonly operations: DataOperations;
  readonly tokens: GrantVerifier;
  /** Absent where no key is known. */
  readonly keys?: KeyVerifier;
}
