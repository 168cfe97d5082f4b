import { CaissonApiError } from "./api-error.ts";
import type { GitCredentials } from "./git-options.ts";

/** A remote's address without secrets, and the secret that goes with it. */
export interface GitAccess {
  readonly url: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** Takes what an address carries of a name and password out of it; options go before it. */
export function gitAccess(address: string, options: GitCredentials): GitAccess {
  const given = { username: options.username, password: options.password ?? options.token };
  if (!/^https?:/i.test(address)) {
    if (given.password === undefined) return { url: address, username: undefined, password: undefined };
    throw new CaissonApiError("invalid_request", "A password or token is for http and https addresses.", {
      remedy: "Use an https address, or leave the password out.",
    });
  }
  if (!URL.canParse(address)) throw new CaissonApiError("invalid_request", "This is not an address that git can clone from.");
  const url = new URL(address);
  const username = given.username ?? (url.username === "" ? undefined : decoded(url.username));
  const password = given.password ?? (url.password === "" ? undefined : decoded(url.password));
  url.username = "";
  url.password = "";
  return { url: url.href, username: username ?? (password === undefined ? undefined : "git"), password };
}

/** Part of an address; one that holds a bare `%` is taken as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // it was not encoded
  }
}

/** Answers git with what is in its environment. */
const HELPER =
  '!f() { if [ "$1" = get ]; then printf "username=%s\\npassword=%s\\n" "$CAISSON_GIT_USERNAME" "$CAISSON_GIT_PASSWORD"; fi; }; f';

/** The environment of one git process: nothing is asked of anybody, and only the server of the address gets the secret. */
export function gitEnv(access: GitAccess | undefined): Record<string, string> {
  const quiet = { GIT_TERMINAL_PROMPT: "0", GIT_ASKPASS: "", SSH_ASKPASS: "", LC_ALL: "C" };
  if (access?.password === undefined || access.username === undefined) return quiet;
  return {
    ...quiet,
    GIT_CONFIG_COUNT: "2",
    GIT_CONFIG_KEY_0: "credential.helper",
    GIT_CONFIG_VALUE_0: "",
    GIT_CONFIG_KEY_1: `credential.${new URL(access.url).origin}.helper`,
    GIT_CONFIG_VALUE_1: HELPER,
    CAISSON_GIT_USERNAME: access.username,
    CAISSON_GIT_PASSWORD: access.password,
  };
}

/** Text without a secret, however it is written. */
export function withoutSecret(text: string, secret: string | undefined): string {
  if (secret === undefined || secret === "") return text;
  return [secret, encodeURIComponent(secret)].reduce((rest, one) => rest.replaceAll(one, "***"), text);
}
