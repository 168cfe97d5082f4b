/** An OCI reference in full. */
export interface ImageReference {
  /** `host[:port]` of the registry. */
  readonly registry: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
  /** The whole in its normal form, such as `docker.io/library/debian:12`. */
  readonly text: string;
}

const REGISTRY = /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::\d{1,5})?$/i;
const PATH = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Reads a reference the way registry clients do: `debian` is `docker.io/library/debian:latest`. Undefined when it is none;
 * what could be taken for an option of a program is none.
 */
export function parseReference(input: string): ImageReference | undefined {
  if (input.length > 512 || input.startsWith("-")) return undefined;
  const at = input.indexOf("@");
  const digest = at < 0 ? undefined : input.slice(at + 1);
  if (digest !== undefined && !DIGEST.test(digest)) return undefined;
  let name = at < 0 ? input : input.slice(0, at);
  const colon = name.lastIndexOf(":");
  let tag: string | undefined;
  if (colon > name.lastIndexOf("/")) {
    tag = name.slice(colon + 1);
    name = name.slice(0, colon);
    if (!TAG.test(tag)) return undefined;
  }
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  const named = slash > 0 && (/[.:]/.test(first) || first === "localhost");
  const registry = named ? first.toLowerCase() : "docker.io";
  let repository = named ? name.slice(slash + 1) : name;
  if (registry === "docker.io" && !repository.includes("/")) repository = `library/${repository}`;
  if (!REGISTRY.test(registry) || repository.length > 255 || !repository.split("/").every((part) => PATH.test(part))) return undefined;
  if (digest === undefined) tag ??= "latest";
  const text = `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
  return { registry, repository, text, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}
