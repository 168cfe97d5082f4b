import { readFile } from "node:fs/promises";
import { CaissonError, type Config } from "@caisson/contract";
import type { ConfiguredTokens } from "@caisson/control";

/** Tokens of workers that the configuration names. A file is read anew for every connection, so that it can be replaced. */
export function workerTokens(auth: Config["auth"]): ConfiguredTokens {
  const { worker_token: token, worker_token_file: file } = auth;
  if (token !== undefined && file !== undefined)
    throw new CaissonError("invalid_request", "auth.worker_token and auth.worker_token_file are both set.", {
      detail: { remedy: "Keep one of them." },
    });
  const shared = file === undefined ? () => Promise.resolve(token) : () => tokenIfThere(file);
  return { shared, own: auth.worker_tokens };
}

/** A file that was removed takes the shared token away. */
async function tokenIfThere(path: string): Promise<string | undefined> {
  try {
    return await readTokenFile(path);
  } catch (error) {
    if (error instanceof CaissonError && (error.cause as NodeJS.ErrnoException | undefined)?.code === "ENOENT") return undefined;
    throw error;
  }
}

/** A token from a file: its first line. */
export async function readTokenFile(path: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CaissonError("internal", `The worker token cannot be read from ${path}: ${code ?? "unknown"}.`, {
      cause,
      detail: { remedy: "Name a file with auth.worker_token_file that this user may read." },
    });
  }
  const token = text.split(/\r?\n/, 1)[0]?.trim() ?? "";
  if (token.length < 16 || token.length > 512)
    throw new CaissonError("internal", `${path} does not hold a token of 16 to 512 characters.`, {
      detail: { remedy: "Put the token on its first line; `openssl rand -hex 32` makes one." },
    });
  return token;
}
