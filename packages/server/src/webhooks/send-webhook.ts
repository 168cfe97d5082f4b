import type { SendWebhook } from "@caisson/control";

/** Most of an answer that is kept, in bytes. */
const KEPT = 1_024;

/** Sends a message to a webhook over HTTP. Redirects are not followed, the answer is not read beyond what is kept. */
export const sendWebhook: SendWebhook = async ({ url, headers, body, signal }) => {
  const response = await fetch(url, { method: "POST", headers: { ...headers }, body, signal, redirect: "manual" }).catch(
    (error: unknown) => {
      signal.throwIfAborted();
      throw new Error(reasonOf(error), { cause: error });
    },
  );
  return { status: response.status, body: await beginning(response) };
};

async function beginning(response: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const piece of response.body ?? []) {
      pieces.push(piece as Uint8Array);
      length += (piece as Uint8Array).length;
      if (length >= KEPT) break;
    }
  } catch {
    // The status counts; what came of the answer is kept.
  }
  return Buffer.concat(pieces).subarray(0, KEPT).toString("utf8");
}

/** Why a request failed, for people: `ECONNREFUSED`. */
function reasonOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : error;
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? `No answer: ${code}.` : `No answer: ${cause instanceof Error ? cause.message : String(cause)}.`;
}
