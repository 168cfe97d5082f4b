import { CaissonError } from "@caisson/contract";
import { required, type GuestHandlers, type Params } from "@caisson/guest";
import type { IncomingCall } from "@caisson/link";
import picomatch from "picomatch";
import { extract, pack, type Header } from "tar-stream";
import type { MockGuest } from "./mock-guest.ts";
import { FileContent, type DirectoryNode, type FileNode, type MockNode } from "./mock-node.ts";
import { mockUser, type MockUser } from "./mock-user.ts";

const MAX_MODE = 0o7777;
const MAX_PATTERNS = 64;
const BLOCK = 512;
const READ = 4;
const WRITE_AND_SEARCH = 3;
const XATTR = "SCHILY.xattr.";

interface Member {
  readonly header: Header;
  readonly content: Buffer;
}

/** The methods of whole trees. */
export function mockTreeHandlers(guest: MockGuest): GuestHandlers {
  const { files } = guest;
  const as = (params: Params): MockUser => mockUser(params.text("user") ?? guest.options.user);

  async function readTree(call: IncomingCall, params: Params): Promise<void> {
    const [where, exclude, user] = [required("path", params.path("path")), params.texts("exclude") ?? [], as(params)];
    params.finish();
    if (exclude.length > MAX_PATTERNS || exclude.some((pattern) => pattern === "" || pattern.split("/").includes("..")))
      throw new CaissonError("invalid_argument", "exclude: too many patterns, or one is empty or has '..'.");
    const node = files.get(where, user);
    const excluded = exclude.length === 0 ? (): boolean => false : picomatch([...exclude]);
    const tar = pack();
    const linked = new Map<FileNode, string>();
    const add = (name: string, child: MockNode, path: string): void => {
      if (excluded(name)) return;
      const pax = { mtime: String(child.mtimeMs / 1000), ...attributes(child) };
      const header = { name, mode: child.mode, uid: child.uid, gid: child.gid, mtime: new Date(child.mtimeMs), pax };
      if (child.type === "symlink") tar.entry({ ...header, type: "symlink", linkname: child.target });
      else if (child.type === "directory") {
        files.check(child, user, READ, path);
        tar.entry({ ...header, type: "directory" });
        for (const [below, node] of child.children) add(`${name}/${below}`, node, `${path}/${below}`);
      } else {
        files.check(child, user, READ, path);
        const first = linked.get(child);
        if (first !== undefined) tar.entry({ ...header, type: "link", linkname: first });
        else tar.entry(header, Buffer.from(child.content.view()));
        linked.set(child, first ?? name);
      }
    };
    if (node.type === "directory") for (const [name, child] of files.list(where, user)) add(name, child, `${where}/${name}`);
    else add(where.split("/").at(-1) ?? "", node, where);
    tar.finalize();
    call.reply({ entry: files.entry(where, node) });
    for await (const bytes of tar) await call.write(bytes as Uint8Array);
    call.end();
  }

  async function writeTree(call: IncomingCall, params: Params): Promise<void> {
    const where = required("path", params.path("path")).replace(/\/+$/, "") || "/";
    const [keepOwners, mode, user] = [params.flag("keep_owners", false), params.int("mode", 0, MAX_MODE), as(params)];
    params.finish();
    if (keepOwners && user.uid !== 0) throw new CaissonError("permission_denied", "keep_owners: only root can give files away.");
    const find = (): ReturnType<typeof files.find> => files.find(where, user, "follow");
    if (!where.slice(1).includes("/") || files.find(where.replace(/\/[^/]*$/, ""), user, "follow").node !== undefined)
      refuseFile(find().node);
    const pieces: Uint8Array[] = [];
    for await (const frame of call) if (frame.kind === "data") pieces.push(frame.bytes);
    const members = await read(Buffer.concat(pieces));
    if (where !== "/") files.makeDirs(where.replace(/\/[^/]*$/, "") || "/", user);
    const place = find();
    refuseFile(place.node);
    if (place.node === undefined) files.check(place.parent, user, WRITE_AND_SEARCH, where);
    const root = place.node?.type === "directory" ? place.node : files.newDirectory(0o755, user);
    const work: Unpacking = { root, user, keepOwners, made: new Set(place.node === undefined ? [root] : []), entries: 0, bytes: 0 };
    for (const member of members) plant(work, member);
    if (place.node === undefined) {
      root.mode = mode ?? root.mode;
      files.put(place, root, user, where);
    }
    call.reply({ entries: work.entries, bytes: work.bytes }, { fin: true });
  }

  function plant(work: Unpacking, { header, content }: Member): void {
    const names = components(header.name);
    const last = names.pop();
    if (last === undefined) {
      if (header.type !== "directory") throw new CaissonError("invalid_argument", "An entry without a name.");
      return;
    }
    let here = work.root;
    // What was made just now takes everything, whatever mode it will have.
    const put = (name: string, node: MockNode): void => {
      if (!work.made.has(here)) files.check(here, work.user, WRITE_AND_SEARCH, header.name);
      here.children.set(name, node);
      work.made.add(node);
    };
    for (const name of names) {
      const next = here.children.get(name) ?? files.newDirectory(0o755, work.user);
      if (next.type !== "directory")
        throw new CaissonError("not_a_directory", `${header.name}: a part of it is not a directory; links are not followed.`);
      if (!here.children.has(name)) put(name, next);
      here = next;
    }
    const before = here.children.get(last);
    const node = made(work.root, header, content, before, work.user);
    work.entries++;
    if (node !== before) put(last, node);
    if (header.type === "link" || !work.made.has(node)) return;
    if (node.type === "file") work.bytes += content.length;
    const pax = new Map(Object.entries(header.pax ?? {}).map(([key, value]) => [key, String(value)]));
    const seconds = pax.get("mtime");
    node.mode = header.mode ?? node.mode;
    node.mtimeMs = seconds === undefined ? (header.mtime?.getTime() ?? 0) : Number(seconds) * 1000;
    if (work.keepOwners) [node.uid, node.gid] = [header.uid ?? 0, header.gid ?? 0];
    for (const [key, value] of pax) if (key.startsWith(`${XATTR}user.`)) node.xattrs.set(key.slice(XATTR.length), Buffer.from(value));
  }

  function made(root: DirectoryNode, header: Header, bytes: Buffer, before: MockNode | undefined, user: MockUser): MockNode {
    switch (header.type ?? "file") {
      case "directory":
        if (before !== undefined && before.type !== "directory")
          throw new CaissonError("not_a_directory", `${header.name}: is not a directory.`);
        return before ?? files.newDirectory(0o755, user);
      case "file":
      case "contiguous-file": {
        if (before?.type === "directory") throw new CaissonError("is_a_directory", `${header.name}: is a directory.`);
        const content = new FileContent();
        content.writeAt(0, bytes);
        return files.newFile(content, 0o644, user);
      }
      case "symlink":
        return files.newSymlink(header.linkname ?? "", user);
      case "link": {
        let target: MockNode | undefined = root;
        for (const name of components(header.linkname ?? "")) target = target?.type === "directory" ? target.children.get(name) : undefined;
        if (target === undefined || target.type === "directory")
          throw new CaissonError("invalid_argument", `${header.name}: a link to ${header.linkname}, which is not there.`);
        return target;
      }
      default:
        throw new CaissonError("invalid_argument", `${header.name}: entries of type ${header.type} are refused.`);
    }
  }

  return { ReadTree: readTree, WriteTree: writeTree };
}

interface Unpacking {
  readonly root: DirectoryNode;
  readonly user: MockUser;
  readonly keepOwners: boolean;
  /** What this call made. */
  readonly made: Set<MockNode>;
  entries: number;
  bytes: number;
}

function refuseFile(node: MockNode | undefined): void {
  if (node !== undefined && node.type !== "directory") throw new CaissonError("not_a_directory", "The path is not a directory.");
}

/** The names of a path in an archive. */
function components(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (path.startsWith("/") || names.includes("..")) throw new CaissonError("invalid_argument", `${path}: leads out of the tree.`);
  return names;
}

function attributes(node: MockNode): Record<string, string> {
  return Object.fromEntries([...node.xattrs].map(([name, value]) => [`${XATTR}${name}`, Buffer.from(value).toString()]));
}

/** The members of an archive that must be whole. */
async function read(archive: Buffer): Promise<readonly Member[]> {
  if (archive.length < BLOCK || archive.subarray(-BLOCK).some((byte) => byte !== 0))
    throw new CaissonError("invalid_argument", "Not a tar archive, or it ends too early.");
  const found: Member[] = [];
  const stream = extract();
  stream.end(archive);
  try {
    for await (const entry of stream) {
      const pieces: Buffer[] = [];
      for await (const bytes of entry) pieces.push(bytes as Buffer);
      found.push({ header: entry.header, content: Buffer.concat(pieces) });
    }
  } catch (error) {
    throw new CaissonError("invalid_argument", "Not a tar archive, or a damaged one.", { cause: error });
  }
  return found;
}
