export { MAX_PRESENTED, refused, reasonOf, type RefusalReason } from "./refusal.ts";
export { hashSecret, newSecret, sameSecret } from "./secret.ts";
export { checkNonce, LINK_NONCE_MS, newNonce } from "./link-nonce.ts";
export { isLinkAnswer, linkAnswer } from "./link-answer.ts";
export { makeSigningKey, publicKeySet, SigningKeySet, type PublicKeySet, type SigningKey } from "./signing-key.ts";
export { signControlToken, verifyControlToken, type ControlToken } from "./control-token.ts";
