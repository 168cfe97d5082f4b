import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { parseSync, type ParseResult } from "vite";

const ROOT = new URL("../..", import.meta.url).pathname;
const INDEX = join(ROOT, "packages/sdk/src/index.ts");

/** What a user of the SDK can name: an export of its index, or a member of an exported class or interface. */
export interface Member {
  /** Such as `Files.read`. */
  readonly name: string;
  readonly kind: "class" | "function" | "value" | "type" | "method" | "property";
  /** Where it is declared, from the root: `packages/sdk/src/files.ts:42`. */
  readonly place: string;
  /** Its TSDoc comment without the stars; undefined when it has none. */
  readonly doc: string | undefined;
}

/** The public face of the SDK. What is passed on from other packages is documented there. */
export interface Surface {
  readonly members: readonly Member[];
  /** Names that exist at run time, and names of types only: what an example may use. */
  readonly values: readonly string[];
  readonly types: readonly string[];
}

/** Reads the public face from the sources. */
export function readSurface(): Surface {
  const members: Member[] = [];
  const values: string[] = [];
  const types: string[] = [];
  for (const { name, local, source, typeOnly } of exportsOf(INDEX)) {
    (typeOnly ? types : values).push(name);
    if (!source.startsWith(".")) continue;
    const [first, ...inside] = new SourceFile(join(dirname(INDEX), source)).membersOf(local);
    if (first !== undefined) members.push(typeOnly ? { ...first, kind: "type" } : first, ...inside);
  }
  return { members, values, types };
}

interface Export {
  readonly name: string;
  readonly local: string;
  readonly source: string;
  readonly typeOnly: boolean;
}

type Program = ParseResult["program"];
type Statement = Program["body"][number];
type Declaration = Extract<Statement, { type: "ExportNamedDeclaration" }>["declaration"];

function exportsOf(file: string): Export[] {
  const found: Export[] = [];
  for (const statement of parseSync(file, readFileSync(file, "utf8")).program.body) {
    if (statement.type !== "ExportNamedDeclaration" || statement.source === null) continue;
    for (const one of statement.specifiers) {
      const typeOnly = statement.exportKind === "type" || one.exportKind === "type";
      found.push({ name: nameOf(one.exported), local: nameOf(one.local), source: statement.source.value, typeOnly });
    }
  }
  return found;
}

function nameOf(node: { readonly name: string } | { readonly value: string }): string {
  return "name" in node ? node.name : node.value;
}

/** One source file: what it declares, and the comments before it. */
class SourceFile {
  readonly #path: string;
  readonly #text: string;
  readonly #parsed: ParseResult;

  constructor(path: string) {
    this.#path = path;
    this.#text = readFileSync(path, "utf8");
    this.#parsed = parseSync(path, this.#text);
  }

  /** An exported declaration and its public members. */
  membersOf(name: string): Member[] {
    for (const statement of this.#parsed.program.body) {
      if (statement.type !== "ExportNamedDeclaration" || statement.declaration === null) continue;
      const { declaration } = statement;
      if (!declares(declaration, name)) continue;
      return [this.#member(name, kindOf(declaration), statement.start), ...this.#inside(name, declaration)];
    }
    throw new Error(`${this.#path} does not declare ${name}`);
  }

  #inside(owner: string, declaration: NonNullable<Declaration>): Member[] {
    const found = new Map<string, Member>();
    const add = (name: string, kind: Member["kind"], start: number): void => {
      const member = this.#member(`${owner}.${name}`, kind, start);
      // Of several overloads one is documented.
      if (found.get(name)?.doc === undefined) found.set(name, member);
    };
    if (declaration.type === "ClassDeclaration") {
      for (const one of declaration.body.body) {
        if (one.type !== "MethodDefinition" && one.type !== "PropertyDefinition") continue;
        if (one.accessibility === "private" || one.accessibility === "protected" || one.key.type === "PrivateIdentifier") continue;
        if (one.type === "MethodDefinition" && one.kind === "constructor") continue;
        // What is named by a symbol, such as disposal, is used by the language and shown by the class.
        const kind = one.type === "MethodDefinition" && one.kind === "method" && !one.computed ? "method" : "property";
        add(this.#text.slice(one.key.start, one.key.end), kind, one.start);
      }
    }
    if (declaration.type === "TSInterfaceDeclaration") {
      for (const one of declaration.body.body) {
        if (one.type === "TSMethodSignature") add(this.#text.slice(one.key.start, one.key.end), "property", one.start);
      }
    }
    return [...found.values()];
  }

  #member(name: string, kind: Member["kind"], start: number): Member {
    const line = this.#text.slice(0, start).split("\n").length;
    return { name, kind, place: `${relative(ROOT, this.#path)}:${line}`, doc: this.#docBefore(start) };
  }

  #docBefore(start: number): string | undefined {
    const comment = this.#parsed.comments.findLast((one) => one.end <= start);
    if (comment?.type !== "Block" || !comment.value.startsWith("*")) return undefined;
    return this.#text.slice(comment.end, start).trim() === "" ? withoutStars(comment.value) : undefined;
  }
}

/** The text of a TSDoc comment, line for line. */
export function withoutStars(comment: string): string {
  return comment.replace(/^\*/, "").replaceAll(/^[ \t]*\*? ?/gm, "");
}

function declares(declaration: NonNullable<Declaration>, name: string): boolean {
  if (declaration.type === "VariableDeclaration")
    return declaration.declarations.some((one) => one.id.type === "Identifier" && one.id.name === name);
  return "id" in declaration && declaration.id !== null && "name" in declaration.id && declaration.id.name === name;
}

function kindOf(declaration: NonNullable<Declaration>): Member["kind"] {
  if (declaration.type === "ClassDeclaration") return "class";
  if (declaration.type === "FunctionDeclaration") return "function";
  return declaration.type === "VariableDeclaration" ? "value" : "type";
}
