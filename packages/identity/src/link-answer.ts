import { createHmac } from "node:crypto";
import { sameSecret } from "./secret.ts";

/** How a worker with a shared or static token answers a control plane that dialled it: it proves to know the token and does not show it. */
export function linkAnswer(token: string, workerId: string, nonce: string): string {
  return createHmac("sha256", token).update(`caisson-link-answer\n${workerId}\n${nonce}`, "utf8").digest("base64url");
}

/** Whether an answer was made with this token, for this worker, over this nonce. */
export function isLinkAnswer(answer: string, token: string, workerId: string, nonce: string): boolean {
  return sameSecret(answer, linkAnswer(token, workerId, nonce));
}
