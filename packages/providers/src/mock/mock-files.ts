import { CaissonError, type Clock } from "@caisson/contract";
import { FileContent, type DirectoryNode, type FileNode, type MockNode, type SymlinkNode } from "./mock-node.ts";
import { mockUserName, ROOT, USER, type MockUser } from "./mock-user.ts";

const MAX_NAME = 255;
const MAX_LINKS = 40;
const READ = 4;
const WRITE = 2;
const SEARCH = 1;

/** Where a path leads: the directory that holds the last name, and what is there, if anything. */
export interface Place {
  readonly parent: DirectoryNode;
  readonly name: string;
  readonly node: MockNode | undefined;
  /** The same place without links and dots. */
  readonly path: string;
}

/** Something that happened in a mock file tree. */
export interface MockChange {
  readonly kind: "created" | "modified" | "deleted" | "moved" | "attributes";
  readonly path: string;
  readonly node: MockNode;
  /** Where what was moved was before. */
  readonly from?: string;
}

/** A file tree in memory with owners, modes and symbolic links. It is made when somebody looks: most boxes only start and end. */
export class MockFiles {
  readonly #clock: Clock;
  readonly #madeAt: number;
  #root: DirectoryNode | undefined;
  readonly #observers = new Set<(change: MockChange) => void>();
  /** Files that follow on each other at one path never share a revision. */
  #revisions = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#madeAt = clock.now();
  }

  get root(): DirectoryNode {
    return this.#root ?? this.#furnish();
  }

  #furnish(): DirectoryNode {
    const root = this.newDirectory(0o755, ROOT);
    this.#root = root;
    for (const path of ["/bin", "/dev", "/etc", "/home", "/root", "/tmp", "/usr", "/var"]) this.makeDir(path, ROOT, 0o755);
    this.makeDir("/var/tmp", ROOT, 0o1777);
    for (const path of [USER.home, "/workspace"]) {
      this.makeDir(path, ROOT, 0o755);
      this.chown(path, ROOT, USER.uid, USER.gid);
    }
    this.chmod("/root", ROOT, 0o700);
    this.chmod("/tmp", ROOT, 0o1777);
    const users = [ROOT, USER].map((user) => `${user.name}:x:${user.uid}:${user.gid}:${user.name}:${user.home}:/bin/sh\n`);
    this.open("/etc/passwd", ROOT, { create: 0o644 }).content.writeAt(0, Buffer.from(users.join("")));
    for (const [, node] of everything("/", root)) node.mtimeMs = this.#madeAt;
    return root;
  }

  /** Tells of every change from now on, until what it returns is called. */
  observe(observer: (change: MockChange) => void): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  /** Finds a place; `last` says what happens when the last name is a link. */
  find(path: string, user: MockUser, last: "follow" | "keep"): Place {
    const todo = split(path).reverse();
    const stack: { name: string; node: DirectoryNode }[] = [{ name: "", node: this.root }];
    let links = 0;
    let place: Place = { parent: this.root, name: "", node: this.root, path: "/" };
    while (todo.length > 0) {
      const name = todo.pop() as string;
      const here = stack.at(-1)?.node ?? this.root;
      if (place.node === undefined) throw missing(path);
      if (place.node.type !== "directory") throw new CaissonError("not_a_directory", `${path}: a part is not a directory.`);
      this.check(here, user, SEARCH, path);
      if (name === "..") {
        if (stack.length > 1) stack.pop();
        const top = stack.at(-1) as { name: string; node: DirectoryNode };
        place = { parent: stack.at(-2)?.node ?? this.root, name: top.name, node: top.node, path: pathOf(stack) };
        continue;
      }
      if (Buffer.byteLength(name) > MAX_NAME) throw new CaissonError("invalid_argument", "A name is longer than 255 bytes.");
      const node = here.children.get(name);
      if (node?.type === "symlink" && (todo.length > 0 || last === "follow")) {
        if (++links > MAX_LINKS) throw new CaissonError("invalid_argument", `${path}: too many links.`);
        if (node.target.startsWith("/")) stack.length = 1;
        todo.push(...split(node.target).reverse());
        const top = stack.at(-1) as { name: string; node: DirectoryNode };
        place = { parent: stack.at(-2)?.node ?? this.root, name: top.name, node: top.node, path: pathOf(stack) };
        continue;
      }
      place = { parent: here, name, node, path: `${pathOf(stack).replace(/\/$/, "")}/${name}` };
      if (node?.type === "directory") stack.push({ name, node });
    }
    return place;
  }

  /** What is at a path; `not_found` when nothing is. */
  get(path: string, user: MockUser, last: "follow" | "keep" = "follow"): MockNode {
    const { node } = this.find(path, user, last);
    if (node === undefined) throw missing(path);
    return node;
  }

  /** A regular file for reading or writing; made with mode `create` when it is missing. */
  open(path: string, user: MockUser, how: { readonly create?: number; readonly write?: true } = {}): FileNode {
    const place = this.find(path, user, "follow");
    const write = how.write !== undefined || how.create !== undefined;
    if (place.node === undefined) {
      if (how.create === undefined) throw missing(path);
      if (path.endsWith("/")) throw new CaissonError("is_a_directory", `${path}: names a directory.`);
      const file = this.newFile(new FileContent(), how.create, user);
      this.put(place, file, user, path);
      return file;
    }
    if (place.node.type === "directory") throw new CaissonError("is_a_directory", `${path}: is a directory.`);
    if (place.node.type !== "file") throw new CaissonError("invalid_argument", `${path}: is not a file.`);
    this.check(place.node, user, write ? WRITE : READ, path);
    if (write) place.node.mtimeMs = this.#clock.now();
    return place.node;
  }

  /** Puts a node at a place whose directory the user may change. */
  put(place: Place, node: MockNode, user: MockUser, path: string, from?: Place): void {
    this.check(place.parent, user, WRITE | SEARCH, path);
    from?.parent.children.delete(from.name);
    place.parent.children.set(place.name, node);
    place.parent.mtimeMs = this.#clock.now();
    if (node.type === "file") node.content.onChange = () => this.#tellNode("modified", node);
    if (from === undefined) this.#tell({ kind: "created", path: place.path, node });
    else this.#tell({ kind: "moved", path: place.path, node, from: from.path });
  }

  /** Puts a whole file at a path at once; the mode of what was there is kept when none is given. */
  replace(path: string, user: MockUser, content: FileContent, mode: number | undefined): FileNode {
    const place = this.find(path, user, "follow");
    if (place.node?.type === "directory") throw new CaissonError("is_a_directory", `${path}: is a directory.`);
    const owner = user.uid === 0 && place.node !== undefined ? { uid: place.node.uid, gid: place.node.gid } : {};
    const file: FileNode = { ...this.newFile(content, mode ?? place.node?.mode ?? 0o644, user), ...owner };
    this.put(place, file, user, path);
    return file;
  }

  makeDir(path: string, user: MockUser, mode: number = 0o755): void {
    const place = this.find(path, user, "keep");
    if (place.node !== undefined) throw new CaissonError("already_exists", `${path}: is there already.`);
    this.put(place, this.newDirectory(mode, user), user, path);
  }

  /** Makes a directory and those above it; whether the last was made now. */
  makeDirs(path: string, user: MockUser, mode: number = 0o755): boolean {
    const names = split(path);
    let made = false;
    for (let i = 1; i <= names.length; i++) {
      const part = `/${names.slice(0, i).join("/")}`;
      const { node } = this.find(part, user, "follow");
      made = node === undefined;
      if (made) this.makeDir(part, user, i === names.length ? mode : 0o755);
      else if (node?.type !== "directory")
        throw new CaissonError(i === names.length ? "already_exists" : "not_a_directory", `${part}: is not a directory.`);
    }
    return made;
  }

  symlink(target: string, path: string, user: MockUser): void {
    const place = this.find(path, user, "keep");
    if (place.node !== undefined) throw new CaissonError("already_exists", `${path}: is there already.`);
    this.put(place, this.newSymlink(target, user), user, path);
  }

  /** Names of a directory, sorted. */
  list(path: string, user: MockUser): readonly (readonly [string, MockNode])[] {
    const node = this.get(path, user);
    if (node.type !== "directory") throw new CaissonError("not_a_directory", `${path}: is not a directory.`);
    this.check(node, user, READ, path);
    return [...node.children].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  move(from: string, to: string, user: MockUser, existing: "replace" | "refuse"): void {
    const source = this.find(from, user, "keep");
    const target = this.find(to, user, "keep");
    if (source.node === undefined) throw missing(from);
    if (target.node === source.node) return;
    if (target.node !== undefined) {
      if (existing === "refuse") throw new CaissonError("already_exists", `${to}: is there already.`);
      if (target.node.type === "directory" && source.node.type !== "directory")
        throw new CaissonError("is_a_directory", `${to}: is a directory.`);
      if (target.node.type !== "directory" && source.node.type === "directory")
        throw new CaissonError("not_a_directory", `${to}: is not a directory.`);
      if (target.node.type === "directory" && target.node.children.size > 0) throw new CaissonError("not_empty", `${to}: is not empty.`);
    }
    if (`${target.path}/`.startsWith(`${source.path}/`)) throw new CaissonError("invalid_argument", `${to}: lies within ${from}.`);
    this.#checkRemovable(source, user, from);
    this.put(target, source.node, user, to, source);
  }

  remove(path: string, user: MockUser, what: "one" | "tree"): void {
    const place = this.find(path, user, "keep");
    if (place.node === undefined) throw missing(path);
    if (place.node === this.root) throw new CaissonError("permission_denied", "The root cannot be removed.");
    if (place.node.type === "directory" && place.node.children.size > 0 && what === "one")
      throw new CaissonError("not_empty", `${path}: is not empty.`);
    this.#checkRemovable(place, user, path);
    place.parent.children.delete(place.name);
    place.parent.mtimeMs = this.#clock.now();
    for (const [below, node] of everything(place.path, place.node).reverse()) this.#tell({ kind: "deleted", path: below, node });
  }

  chmod(path: string, user: MockUser, mode: number): void {
    const node = this.get(path, user);
    if (user.uid !== 0 && user.uid !== node.uid) throw denied(path);
    node.mode = mode;
    node.revision++;
    this.#tellNode("attributes", node);
  }

  chown(path: string, user: MockUser, uid: number | undefined, gid: number | undefined): void {
    const node = this.get(path, user);
    if (user.uid !== 0) throw denied(path);
    node.uid = uid ?? node.uid;
    node.gid = gid ?? node.gid;
    node.revision++;
    this.#tellNode("attributes", node);
  }

  /** Throws `permission_denied` unless the user has all these rights. */
  check(node: MockNode, user: MockUser, rights: number, path: string): void {
    if (user.uid === 0) return;
    const shift = user.uid === node.uid ? 6 : user.gid === node.gid ? 3 : 0;
    if (((node.mode >> shift) & rights) !== rights) throw denied(path);
  }

  /** The protocol's form of an entry. */
  entry(path: string, node: MockNode): Record<string, unknown> {
    const changes = node.type === "file" ? node.content.revision : 0;
    const size = node.type === "file" ? node.content.size : node.type === "symlink" ? Buffer.byteLength(node.target) : 4096;
    return {
      path,
      name: split(path).at(-1) ?? "/",
      type: node.type,
      size,
      mode: node.mode,
      uid: node.uid,
      gid: node.gid,
      user: mockUserName(node.uid),
      group: mockUserName(node.gid),
      mtime_ms: Math.floor(node.mtimeMs),
      version: `${Math.floor(node.mtimeMs * 1000).toString(16)}-${size}-${node.revision}-${changes}`,
      target: node.type === "symlink" ? node.target : undefined,
    };
  }

  #tell(change: MockChange): void {
    for (const observer of this.#observers) observer(change);
  }

  /** Tells of a node that knows no path; one that was removed has none. */
  #tellNode(kind: "modified" | "attributes", node: MockNode): void {
    if (this.#observers.size === 0) return;
    const found = everything("/", this.root).find(([, candidate]) => candidate === node);
    if (found !== undefined) this.#tell({ kind, path: found[0], node });
  }

  #checkRemovable(place: Place, user: MockUser, path: string): void {
    this.check(place.parent, user, WRITE | SEARCH, path);
    const sticky = (place.parent.mode & 0o1000) !== 0;
    if (sticky && user.uid !== 0 && user.uid !== place.node?.uid && user.uid !== place.parent.uid) throw denied(path);
  }

  newFile(content: FileContent, mode: number, user: MockUser): FileNode {
    return { type: "file", content, ...this.#meta(mode, user) };
  }

  newSymlink(target: string, user: MockUser): SymlinkNode {
    return { type: "symlink", target, ...this.#meta(0o777, user) };
  }

  newDirectory(mode: number, user: MockUser): DirectoryNode {
    return { type: "directory", children: new Map(), ...this.#meta(mode, user) };
  }

  #meta(mode: number, user: MockUser): Omit<FileNode, "type" | "content"> {
    return { mode, uid: user.uid, gid: user.gid, mtimeMs: this.#clock.now(), xattrs: new Map(), revision: ++this.#revisions };
  }
}

/** A node and all below it with their paths, parents first. */
export function everything(path: string, node: MockNode): [string, MockNode][] {
  const base = path.replace(/\/$/, "");
  const below = node.type === "directory" ? [...node.children] : [];
  return [[path, node], ...below.flatMap(([name, child]) => everything(`${base}/${name}`, child))];
}

/** The names of a path, without empty ones and single dots. */
export function split(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

function pathOf(stack: readonly { name: string }[]): string {
  return `/${stack
    .slice(1)
    .map((part) => part.name)
    .join("/")}`;
}

function missing(path: string): CaissonError {
  return new CaissonError("not_found", `${path}: is not there.`);
}

function denied(path: string): CaissonError {
  return new CaissonError("permission_denied", `${path}: permission denied.`);
}
