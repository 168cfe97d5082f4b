import { configSchema } from "@caisson/contract";

/** A section of the configuration, or a key that holds a value. */
export type ConfigNode = ConfigSection | ConfigKey;

export interface ConfigSection {
  readonly kind: "section";
  readonly children: ReadonlyMap<string, ConfigNode>;
}

export interface ConfigKey {
  readonly kind: "key";
  readonly type: "string" | "number" | "boolean" | "list" | "map";
}

interface JsonSchema {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
  readonly type?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: unknown;
}

let tree: ConfigSection | undefined;

/** The shape of the configuration, read off its schema: what may be named, and how its text form is typed. */
export function configTree(): ConfigSection {
  if (tree === undefined) {
    const schema = configSchema.toJSONSchema({ io: "input" }) as JsonSchema;
    const root = toNode(schema, schema.$defs ?? {});
    tree = root.kind === "section" ? root : { kind: "section", children: new Map() };
  }
  return tree;
}

function toNode(schema: JsonSchema, definitions: Readonly<Record<string, JsonSchema>>): ConfigNode {
  const referred = schema.$ref === undefined ? undefined : definitions[schema.$ref.replace("#/$defs/", "")];
  if (referred !== undefined) return toNode(referred, definitions);
  switch (schema.type) {
    case "object":
      // Keys of the user's own, such as labels: all of it is one value.
      if (typeof schema.additionalProperties === "object") return { kind: "key", type: "map" };
      return {
        kind: "section",
        children: new Map(Object.entries(schema.properties ?? {}).map(([name, child]) => [name, toNode(child, definitions)])),
      };
    case "integer":
    case "number":
      return { kind: "key", type: "number" };
    case "boolean":
      return { kind: "key", type: "boolean" };
    case "array":
      return { kind: "key", type: "list" };
    default:
      return { kind: "key", type: "string" };
  }
}

/** What a path names; undefined when nothing. */
export function nodeAt(path: readonly string[]): ConfigNode | undefined {
  let node: ConfigNode | undefined = configTree();
  for (const name of path) node = node?.kind === "section" ? node.children.get(name) : undefined;
  return node;
}

/** Paths of all keys that hold a value. */
export function keyPaths(node: ConfigNode = configTree(), prefix: readonly string[] = []): readonly (readonly string[])[] {
  if (node.kind === "key") return [prefix];
  return [...node.children].flatMap(([name, child]) => keyPaths(child, [...prefix, name]));
}
