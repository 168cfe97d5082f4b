import { CaissonError } from "@caisson/contract";

/** One mistake in the configuration. */
export interface ConfigMistake {
  /** Path of the key, such as `server.port`; empty for the whole file. */
  readonly path: string;
  readonly message: string;
  /** Where it was written: `caisson.yaml:4`, or the name of a variable. */
  readonly source?: string;
}

/** One line for people. */
export function formatMistake(mistake: ConfigMistake): string {
  return [mistake.source, mistake.path, mistake.message].filter((part) => part !== undefined && part !== "").join(": ");
}

/** All mistakes as one error. */
export function configError(mistakes: readonly ConfigMistake[]): CaissonError {
  const count = mistakes.length === 1 ? "a mistake" : `${mistakes.length} mistakes`;
  return new CaissonError(
    "invalid_request",
    `The configuration has ${count}:\n${mistakes.map((one) => `  ${formatMistake(one)}`).join("\n")}`,
    {
      detail: { remedy: "docs/configuration.md has every key; `caisson config check` tells when all is right." },
      errors: mistakes.map((one) => ({
        path: one.path,
        message: one.source === undefined ? one.message : `${one.message} (${one.source})`,
      })),
    },
  );
}
