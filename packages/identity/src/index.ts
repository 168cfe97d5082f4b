// What everybody shows and checks
export { MAX_PRESENTED, reasonOf, refused, type RefusalReason } from "./refusal.ts";
export { hashSecret, newSecret, sameSecret } from "./secret.ts";
export { checkNonce, LINK_NONCE_MS, newNonce } from "./link-nonce.ts";
// Keys of the installation
export { makeSigningKey, publicKeySet, signingKeySchema, SigningKeySet, type PublicKeySet, type SigningKey } from "./signing-key.ts";
export { fixedKeys, newSigningKeys, readSigningKeys, SIGNING_KEYS, type SigningKeys, type SigningKeySource } from "./signing-keys.ts";
export { keyIdOf } from "./signed-token.ts";
export { authoritySchema, issueCertificate, makeAuthority, workerUri, type Authority, type IssuedCertificate } from "./authority.ts";
// A worker's own
export { certificateKeyThumbprint, certificateThumbprint, keyThumbprint, makeWorkerKey, readWorkerKey } from "./worker-key.ts";
export { makeSigningRequest, readSigningRequest, type SigningRequest } from "./signing-request.ts";
export { signProof, verifyProof, type ProofClaims } from "./worker-proof.ts";
export { certificateMatches, readHeldToken, tokenLifeMs, type HeldToken } from "./held-credentials.ts";
export { signWorkerToken, verifyWorkerToken, type WorkerToken } from "./worker-token.ts";
// Links that a control plane dialled
export { isLinkAnswer, linkAnswer } from "./link-answer.ts";
export { signControlToken, verifyControlToken, type ControlToken } from "./control-token.ts";
// Tokens for one sandbox
export { AccessTokens, signAccess, type AccessTokensOptions, type SandboxAccess } from "./access-tokens.ts";
export { CheckedGrants, SignedGrants, type CheckedGrantsOptions } from "./grant-tokens.ts";
export { TOKEN_ACTIONS, type Grant, type GrantSigner, type GrantVerifier, type TokenAction } from "./grant.ts";
export { endedLegacyKey, keepLegacyKey, LEGACY_GRANT_KEY, LegacyGrants } from "./legacy-grants.ts";
export { InstallationTokens, type InstallationTokensOptions } from "./installation-tokens.ts";
