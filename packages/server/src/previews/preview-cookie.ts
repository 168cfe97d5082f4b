import type { PreviewTarget } from "./preview-target.ts";

/** Name of the cookie that a port's token becomes. */
const NAME = "caisson_preview";

/** Our cookies of a Cookie header, by value. */
export function previewCookies(header: string | undefined): string[] {
  return pairs(header).flatMap(({ name, text }) => (name === NAME ? [text.slice(text.indexOf("=") + 1).trim()] : []));
}

/** A Cookie header without ours; undefined when nothing is left. */
export function foreignCookies(header: string | undefined): string | undefined {
  const kept = pairs(header).filter(({ name }) => name !== NAME);
  return kept.length === 0 ? undefined : kept.map(({ text }) => text.trim()).join("; ");
}

/** A Set-Cookie of a server in a sandbox as a browser may have it: for its own host alone, and not one of ours. */
export function confinedCookie(header: string): string | undefined {
  const [pair = "", ...attributes] = header.split(";");
  if (pair.split("=", 1)[0]?.trim() === NAME) return undefined;
  return [pair, ...attributes.filter((one) => !/^\s*domain\s*(?:=|$)/i.test(one))].join(";");
}

/** The Set-Cookie with which a token opens a preview until its time, without being in the address. */
export function previewCookie(target: PreviewTarget, token: string, seconds: number, secure: boolean): string {
  const path = target.base === "" ? "/" : `${target.base}/`;
  return `${NAME}=${token}; Path=${path}; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure ? "; Secure" : ""}`;
}

function pairs(header: string | undefined): { readonly name: string; readonly text: string }[] {
  if (header === undefined) return [];
  return header.split(";").map((text) => ({ name: text.split("=", 1)[0]?.trim() ?? "", text }));
}
