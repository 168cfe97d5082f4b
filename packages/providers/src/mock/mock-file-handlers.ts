import { CaissonError } from "@caisson/contract";
import { required, type GuestHandlers, type Params } from "@caisson/guest";
import type { IncomingCall } from "@caisson/link";
import picomatch from "picomatch";
import type { MockGuest } from "./mock-guest.ts";
import { FileContent, type MockNode } from "./mock-node.ts";
import { mockUser, type MockUser } from "./mock-user.ts";

const CHUNK = 65_536;
const PAGE = 200;
const MAX_MODE = 0o7777;

/** Sends entries in pages. */
async function sendEntries(call: IncomingCall, entries: readonly Record<string, unknown>[]): Promise<void> {
  for (let at = 0; at < entries.length; at += PAGE) await call.sendEvent({ type: "entries", entries: entries.slice(at, at + PAGE) });
}

/** The methods about files. */
export function mockFileHandlers(guest: MockGuest): GuestHandlers {
  const { files } = guest;
  const as = (params: Params): MockUser => mockUser(params.text("user") ?? guest.options.user);
  const path = (params: Params, key: string = "path"): string => required(key, params.path(key));

  /** Everything below a directory, to a depth, parents first. */
  function below(dir: string, depth: number, user: MockUser): { path: string; node: MockNode }[] {
    const base = dir.replace(/\/+$/, "");
    return files.list(dir, user).flatMap(([name, node]) => {
      const here = { path: `${base}/${name}`, node };
      return node.type === "directory" && depth > 1 ? [here, ...below(here.path, depth - 1, user)] : [here];
    });
  }

  async function readFile(call: IncomingCall, params: Params): Promise<void> {
    const [where, offset, length, user] = [path(params), params.int("offset") ?? 0, params.int("length"), as(params)];
    params.finish();
    const file = files.open(where, user);
    call.reply({ entry: files.entry(where, file) });
    const end = length === undefined ? file.content.size : Math.min(file.content.size, offset + length);
    for (let at = offset; at < end; at += CHUNK) await call.write(Uint8Array.from(file.content.view(at, Math.min(at + CHUNK, end))));
    call.end();
  }

  async function writeFile(call: IncomingCall, params: Params): Promise<void> {
    const where = path(params);
    const mode = params.int("mode", 0, MAX_MODE);
    const offset = params.int("offset");
    const append = params.flag("append", false);
    const atomic = params.flag("atomic", offset === undefined && !append);
    const parents = params.flag("create_parents", true);
    const user = as(params);
    params.finish();
    if (append && offset !== undefined) throw new CaissonError("invalid_argument", "offset and append exclude each other.");
    if (atomic && (append || offset !== undefined))
      throw new CaissonError("invalid_argument", "An atomic write has neither offset nor append.");
    if (where.endsWith("/")) throw new CaissonError("is_a_directory", `${where}: names a directory.`);
    if (parents) files.makeDirs(where.replace(/\/[^/]*$/, "") || "/", user);
    const collected: Uint8Array[] = [];
    if (!atomic) {
      const file = files.open(where, user, { create: mode ?? 0o644 });
      if (!append && offset === undefined) file.content.clear();
      let at = append ? file.content.size : (offset ?? 0);
      for await (const frame of call) {
        if (frame.kind !== "data") continue;
        file.content.writeAt(at, frame.bytes);
        at += frame.bytes.length;
      }
    } else {
      // Refused before the bytes come, as a temporary file beside the target would be.
      const place = files.find(where, user, "follow");
      if (place.node?.type === "directory") throw new CaissonError("is_a_directory", `${where}: is a directory.`);
      files.check(place.parent, user, 3, where);
      for await (const frame of call) if (frame.kind === "data") collected.push(frame.bytes);
      const content = new FileContent();
      for (const bytes of collected) content.writeAt(content.size, bytes);
      files.replace(where, user, content, mode);
    }
    const node = files.get(where, user);
    if (mode !== undefined) node.mode = mode;
    call.reply({ entry: files.entry(where, node) }, { fin: true });
  }

  async function glob(call: IncomingCall, params: Params): Promise<void> {
    const pattern = required("pattern", params.text("pattern"));
    const [cwd, limit, user] = [params.path("cwd") ?? "/", params.int("limit", 1) ?? 10_000, as(params)];
    params.finish();
    if (pattern === "" || pattern.split("/").includes("..")) throw new CaissonError("invalid_argument", "pattern: is empty or has '..'.");
    const base = pattern.startsWith("/") ? "/" : cwd;
    const matches = picomatch(pattern.replace(/^\/+/, ""));
    const start = base.replace(/\/+$/, "").length + 1;
    const found = below(base, Number.POSITIVE_INFINITY, user).filter((entry) => matches(entry.path.slice(start)));
    call.reply({});
    await sendEntries(
      call,
      found.slice(0, limit).map((entry) => files.entry(entry.path, entry.node)),
    );
    if (found.length > limit) await call.sendEvent({ type: "truncated" });
    call.end();
  }

  return {
    ReadFile: readFile,
    WriteFile: writeFile,
    Glob: glob,
    Stat: (call, params) => {
      const [where, follow, user] = [path(params), params.flag("follow", false), as(params)];
      params.finish();
      const node = files.get(where, user, follow ? "follow" : "keep");
      call.reply({ entry: files.entry(where, node) }, { fin: true });
    },
    ListDir: async (call, params) => {
      const [where, depth, user] = [path(params), params.int("depth", 1) ?? 1, as(params)];
      params.finish();
      const entries = below(where, depth, user).map((entry) => files.entry(entry.path, entry.node));
      call.reply({});
      await sendEntries(call, entries);
      call.end();
    },
    MakeDir: (call, params) => {
      const [where, mode, parents, user] = [
        path(params),
        params.int("mode", 0, MAX_MODE) ?? 0o755,
        params.flag("parents", true),
        as(params),
      ];
      params.finish();
      let created = true;
      if (parents) created = files.makeDirs(where, user, mode);
      else files.makeDir(where, user, mode);
      call.reply({ created }, { fin: true });
    },
    Move: (call, params) => {
      const [from, to, overwrite, user] = [path(params, "from"), path(params, "to"), params.flag("overwrite", true), as(params)];
      params.finish();
      files.move(from, to, user, overwrite ? "replace" : "refuse");
      call.reply({}, { fin: true });
    },
    Remove: (call, params) => {
      const [where, recursive, user] = [path(params), params.flag("recursive", false), as(params)];
      params.finish();
      files.remove(where, user, recursive ? "tree" : "one");
      call.reply({}, { fin: true });
    },
    Chmod: (call, params) => {
      const [where, mode, recursive, user] = [
        path(params),
        required("mode", params.int("mode", 0, MAX_MODE)),
        params.flag("recursive", false),
        as(params),
      ];
      params.finish();
      const real = files.get(where, user, "keep");
      const inside = recursive && real.type === "directory" ? below(where, Number.POSITIVE_INFINITY, user) : [];
      for (const entry of inside) if (entry.node.type !== "symlink") files.chmod(entry.path, user, mode);
      files.chmod(where, user, mode);
      call.reply({}, { fin: true });
    },
    Chown: (call, params) => {
      const [where, owner, recursive] = [path(params), required("owner", params.text("owner")), params.flag("recursive", false)];
      params.finish();
      const [name = "", group] = owner.split(":");
      const uid = name === "" ? undefined : mockUser(name).uid;
      const gid = group === undefined || group === "" ? undefined : mockUser(group).gid;
      const root = mockUser("root");
      const node = files.get(where, root, "keep");
      const inside = recursive && node.type === "directory" ? below(where, Number.POSITIVE_INFINITY, root) : [];
      for (const entry of inside) if (entry.node.type !== "symlink") files.chown(entry.path, root, uid, gid);
      files.chown(where, root, uid, gid);
      call.reply({}, { fin: true });
    },
  };
}
