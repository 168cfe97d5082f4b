import { join } from "node:path";
import { CaissonError, workerCredentialsSchema, workerIdSchema, type WorkerCredentials } from "@caisson/contract";
import { certificateMatches, tokenLifeMs } from "@caisson/identity";
import { z } from "zod";
import { readIfThere, removeDurably, writeAtomic } from "../durable/atomic-file.ts";

/** What a registered worker keeps on its machine, in one file: after a crash all of it is there as it was before or after. */
export interface JoinedIdentity {
  readonly version: 1;
  /** The control plane that it joined at. */
  readonly control_plane_url: string;
  /** Private key, PKCS #8 PEM; it was made here and never leaves. */
  readonly key: string;
  readonly credentials: WorkerCredentials;
  /** When they came, in ms since the Unix epoch by this machine's clock: only its difference to later times of the same clock counts. */
  readonly obtained_at: number;
}

/** A registration that was begun: the key must be known before the token is used, so that a lost answer can be asked for again. */
export interface BegunRegistration {
  readonly version: 1;
  readonly control_plane_url: string;
  /** SHA-256 of the invitation's token, hex. */
  readonly token_hash: string;
  readonly key: string;
}

const joinedSchema: z.ZodType<JoinedIdentity> = z.object({
  version: z.literal(1),
  control_plane_url: z.string(),
  key: z.string().max(4096),
  credentials: workerCredentialsSchema.strip(),
  obtained_at: z.number(),
});

const begunSchema: z.ZodType<BegunRegistration> = z.object({
  version: z.literal(1),
  control_plane_url: z.string(),
  token_hash: z.string(),
  key: z.string().max(4096),
});

/** The files of a worker's identity, in a folder that exists. Written whole, mode 0600. */
export class IdentityFiles {
  readonly joinedPath: string;
  readonly #begunPath: string;

  constructor(dir: string) {
    this.joinedPath = join(dir, "identity.json");
    this.#begunPath = join(dir, "joining.json");
  }

  /** The identity of a worker that joined; undefined before. Throws `invalid_request` for a file that is damaged. */
  async joined(): Promise<JoinedIdentity | undefined> {
    const text = await readIfThere(this.joinedPath);
    return text === undefined ? undefined : parse(joinedSchema, text, this.joinedPath);
  }

  /** Keeps an identity. Throws `protocol_error` for credentials that are not for this key. */
  async keep(identity: JoinedIdentity): Promise<void> {
    checkCredentials(identity);
    await writeAtomic(this.joinedPath, `${JSON.stringify(identity, null, 2)}\n`);
    await removeDurably(this.#begunPath);
  }

  async begun(): Promise<BegunRegistration | undefined> {
    const text = await readIfThere(this.#begunPath);
    return text === undefined ? undefined : parse(begunSchema, text, this.#begunPath);
  }

  begin(registration: BegunRegistration): Promise<void> {
    return writeAtomic(this.#begunPath, `${JSON.stringify(registration, null, 2)}\n`);
  }
}

function parse<T>(schema: z.ZodType<T>, text: string, path: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined; // as what does not fit
  }
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  throw new CaissonError("invalid_request", `${path} is damaged.`, {
    detail: { remedy: "Remove it and join again: caisson worker join." },
  });
}

function checkCredentials({ key, credentials }: JoinedIdentity): void {
  const wrong = !workerIdSchema.safeParse(credentials.worker_id).success
    ? "has no good worker id"
    : !certificateMatches(credentials.certificate, key)
      ? "has a certificate for another key"
      : tokenLifeMs(credentials.token) === undefined
        ? "has no good token"
        : undefined;
  if (wrong !== undefined) throw new CaissonError("protocol_error", `The control plane's answer ${wrong}.`);
}
