import { configSchema } from "@caisson/contract";
import { z } from "zod";

/** The parts of a JSON schema that the page tells. */
interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly default?: unknown;
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly $ref?: string;
}

/** The page of the configuration, from its schema. */
export function configurationPage(): string {
  const schema = z.toJSONSchema(configSchema, { io: "input", reused: "inline" }) as Schema & { $defs?: Readonly<Record<string, Schema>> };
  const resolve = (part: Schema): Schema =>
    part.$ref === undefined ? part : { ...schema.$defs?.[part.$ref.split("/").at(-1) ?? ""], ...part };
  const rows = leaves(resolve(schema), [], resolve).map(({ path, schema: leaf }) =>
    [
      `\`${path.join(".")}\``,
      `\`CAISSON_${path.join("__").toUpperCase()}\``,
      typeOf(leaf),
      leaf.default === undefined ? "" : `\`${JSON.stringify(leaf.default).replaceAll('"', "")}\``,
      (leaf.description ?? "").replaceAll("|", "\\|"),
    ].join(" | "),
  );
  return `# Configuration

<!-- Made by scripts/generate-docs.mjs from the configuration's schema; edit that. -->

The configuration is a YAML file named by \`CAISSON_CONFIG\`; without one, every default holds. A variable of the environment overrides the key it is named for; lists are separated by commas. Unknown keys are refused. \`caisson config check\` explains every mistake by its path. Durations read \`30s\`, \`5m\`, \`1h30m\`.

| key | variable | type | default | meaning |
| --- | --- | --- | --- | --- |
${rows.map((row) => `| ${row} |`).join("\n")}
`;
}

interface Leaf {
  readonly path: readonly string[];
  readonly schema: Schema;
}

/** Keys of a section and of those below it. A section that may only be switched off is one key. */
function leaves(section: Schema, path: readonly string[], resolve: (schema: Schema) => Schema): Leaf[] {
  return Object.entries(section.properties ?? {}).flatMap(([name, part]) => {
    const schema = resolve(part);
    const at = [...path, name];
    if (schema.properties === undefined) return [{ path: at, schema }];
    const below = leaves(schema, at, resolve);
    return schema.description === undefined
      ? below
      : below.map((leaf) => ({ ...leaf, schema: { description: schema.description ?? "", ...leaf.schema } }));
  });
}

function typeOf(schema: Schema): string {
  if (schema.const !== undefined) return `only \`${JSON.stringify(schema.const)}\``;
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (schema.type === "array") return `list of ${schema.items?.type ?? "text"}s`;
  const kind = schema.type === "integer" ? "whole number" : (schema.type ?? "text");
  const { minimum, maximum } = schema;
  const bounded = (value: number | undefined): value is number => value !== undefined && Math.abs(value) !== Number.MAX_SAFE_INTEGER;
  if (bounded(minimum) && bounded(maximum)) return `${kind}, ${minimum} to ${maximum}`;
  return bounded(minimum) ? `${kind}, at least ${minimum}` : kind;
}
