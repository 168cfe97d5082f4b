import type { ApiAccess } from "../api-access.ts";

/** What came of one request: an answer, or the name of what went wrong with the connection. */
export type Attempt<T> =
  | { readonly kind: "done"; readonly body: T }
  | { readonly kind: "refused"; readonly status: number; readonly code: string; readonly retryAfter: string | null }
  | { readonly kind: "broken"; readonly code: string };

/** One request with a deadline of its own; never throws. */
export async function attempt<T>(
  api: ApiAccess,
  method: string,
  path: string,
  options: { readonly body?: unknown; readonly timeoutMs: number; readonly headers?: Record<string, string> },
): Promise<Attempt<T>> {
  try {
    const signal = AbortSignal.timeout(options.timeoutMs);
    // A connection of its own each time: one that is kept would stay with a control plane that answers nothing but refusals.
    const headers = { connection: "close", ...options.headers };
    const response = await api.fetch(method, path, options.body, { signal, headers });
    const text = await response.text();
    if (response.ok) return { kind: "done", body: (text === "" ? undefined : JSON.parse(text)) as T };
    return { kind: "refused", status: response.status, code: codeIn(text), retryAfter: response.headers.get("retry-after") };
  } catch (error) {
    return { kind: "broken", code: nameOf(error) };
  }
}

function codeIn(text: string): string {
  try {
    return (JSON.parse(text) as { code: string }).code;
  } catch {
    return "no code";
  }
}

function nameOf(error: unknown): string {
  const { name, cause } = error as { name: string; cause?: { code?: string } };
  return cause?.code ?? name;
}
