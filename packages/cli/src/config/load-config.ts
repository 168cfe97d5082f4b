import { configSchema, parseDuration, type Config } from "@caisson/contract";
import { readConfigFile, type ConfigFile } from "./config-file.ts";
import { configError, type ConfigMistake } from "./config-mistake.ts";
import { describeIssue, describeUnknownKey, type SchemaIssue } from "./describe-issue.ts";
import { readEnv, type EnvValue } from "./env-overlay.ts";

/** Longest time between heartbeats, in ms: more and workers are late. */
const MAX_HEARTBEAT_MS = 30_000;

/** Where a configuration comes from. */
export interface ConfigSources {
  /** YAML file; absent: the one that `CAISSON_CONFIG` names, if any. */
  readonly path?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A configuration that was read, or what is wrong with it. */
export interface ReadConfig {
  /** The file it was read from, if any. */
  readonly path: string | undefined;
  /** Present when there is no mistake. */
  readonly config: Config | undefined;
  readonly mistakes: readonly ConfigMistake[];
}

/** Reads the configuration: file, then environment over it, then the schema. All mistakes are found at once. */
export function readConfig(sources: ConfigSources): ReadConfig {
  const path = sources.path ?? (sources.env.CAISSON_CONFIG || undefined);
  const file = path === undefined ? undefined : readConfigFile(path);
  const overlay = readEnv(sources.env);
  const mistakes = [...(file?.mistakes ?? []), ...overlay.mistakes];
  const input = structuredClone(file?.value ?? {}) as Record<string, unknown>;
  for (const { path: keys, value } of overlay.values) assign(input, keys, value);

  const parsed = configSchema.safeParse(input);
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      mistakes.push(...fromIssue(issue as SchemaIssue & { keys?: string[] }, input, file, overlay.values));
  } else {
    mistakes.push(...contradictions(parsed.data));
  }
  return { path, config: parsed.success && mistakes.length === 0 ? parsed.data : undefined, mistakes };
}

/** The configuration; throws `invalid_request` with every mistake. */
export function loadConfig(sources: ConfigSources): Config {
  const { config, mistakes } = readConfig(sources);
  if (config === undefined) throw configError(mistakes);
  return config;
}

function fromIssue(
  issue: SchemaIssue & { readonly keys?: readonly string[] },
  input: unknown,
  file: ConfigFile | undefined,
  overlay: readonly EnvValue[],
): ConfigMistake[] {
  const section = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    return (issue.keys ?? []).map((key) => mistake([...section, key], describeUnknownKey(section, key), file, overlay));
  }
  const actual = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], input);
  return [mistake(section, describeIssue(issue, actual), file, overlay)];
}

function mistake(path: readonly string[], message: string, file: ConfigFile | undefined, overlay: readonly EnvValue[]): ConfigMistake {
  const dotted = path.join(".");
  const source = overlay.find((one) => dotted.startsWith(one.path.join(".")))?.name ?? file?.sourceOf(path);
  return source === undefined ? { path: dotted, message } : { path: dotted, message, source };
}

/** Values that are each right but do not go together. */
function contradictions(config: Config): ConfigMistake[] {
  const found: ConfigMistake[] = [];
  const { default: preferred } = config.providers;
  if (preferred !== "auto" && !config.providers[preferred].enabled) {
    found.push({ path: "providers.default", message: `${preferred} is not enabled; set providers.${preferred}.enabled to true` });
  }
  const ms = (text: string): number => parseDuration(text) ?? 0;
  if (ms(config.defaults.ttl) > ms(config.defaults.max_ttl)) {
    found.push({ path: "defaults.ttl", message: `is longer than defaults.max_ttl (${config.defaults.max_ttl})` });
  }
  const longest = ms(config.defaults.max_exec_timeout);
  if (longest > 0 && ms(config.defaults.exec_timeout) > longest) {
    found.push({
      path: "defaults.exec_timeout",
      message: `is longer than defaults.max_exec_timeout (${config.defaults.max_exec_timeout})`,
    });
  }
  if (ms(config.worker.heartbeat_interval) > MAX_HEARTBEAT_MS) {
    found.push({ path: "worker.heartbeat_interval", message: "is longer than 30s: the worker would be late" });
  }
  if (config.worker.listen_addr === undefined) {
    for (const key of ["advertise_addr", "public_url", "preview_domain"] as const)
      if (config.worker[key] !== undefined)
        found.push({ path: `worker.${key}`, message: "needs worker.listen_addr, which is not set: nothing would listen there" });
  }
  if (config.worker.preview_url !== undefined && config.worker.preview_domain === undefined) {
    found.push({ path: "worker.preview_url", message: "needs worker.preview_domain, which is not set" });
  }
  return found;
}

function assign(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path;
  if (key === undefined) return;
  if (rest.length === 0) {
    target[key] = value;
    return;
  }
  const child = target[key];
  // A file that has something else where a section belongs keeps it: the schema says so, with its line.
  if (child === undefined || child === null) target[key] = {};
  if (typeof target[key] === "object") assign(target[key] as Record<string, unknown>, rest, value);
}
