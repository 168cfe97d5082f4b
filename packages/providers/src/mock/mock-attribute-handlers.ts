import { createHash } from "node:crypto";
import { CaissonError } from "@caisson/contract";
import { required, type GuestHandlers, type Params } from "@caisson/guest";
import type { MockGuest } from "./mock-guest.ts";
import type { MockNode } from "./mock-node.ts";
import { mockUser, type MockUser } from "./mock-user.ts";

const MAX_XATTRS = 65_536;
const MAX_NAME = 255;
const READ = 4;
const WRITE = 2;

/** The methods about extended attributes and digests. */
export function mockAttributeHandlers(guest: MockGuest): GuestHandlers {
  const { files } = guest;
  const place = (params: Params): { where: string; user: MockUser; node: () => MockNode } => {
    const where = required("path", params.path("path"));
    const follow = params.flag("follow", true);
    const user = mockUser(params.text("user") ?? guest.options.user);
    return { where, user, node: () => files.get(where, user, follow ? "follow" : "keep") };
  };
  const attribute = (params: Params): string => {
    const name = required("name", params.text("name"));
    if (name === "" || Buffer.byteLength(name) > MAX_NAME) throw new CaissonError("invalid_argument", "name: expected 1 to 255 bytes.");
    return name;
  };
  /** The node whose attribute changes, once it may. */
  const changed = (at: ReturnType<typeof place>, name: string): MockNode => {
    const node = at.node();
    if (!name.startsWith("user.")) throw new CaissonError("unsupported", `${at.where}: only user attributes are kept here.`);
    if (node.type === "symlink") throw new CaissonError("permission_denied", `${at.where}: a link has no user attributes.`);
    files.check(node, at.user, WRITE, at.where);
    return node;
  };

  return {
    GetXattrs: (call, params) => {
      const at = place(params);
      params.finish();
      const node = at.node();
      if (node.xattrs.size > 0) files.check(node, at.user, READ, at.where);
      call.reply({ attributes: Object.fromEntries(node.xattrs) }, { fin: true });
    },
    SetXattr: (call, params) => {
      const [at, name, value] = [place(params), attribute(params), required("value", params.bytes("value"))];
      params.finish();
      const node = changed(at, name);
      const others = [...node.xattrs].filter(([key]) => key !== name).reduce((sum, [key, bytes]) => sum + key.length + bytes.length, 0);
      if (value.length > MAX_XATTRS) throw new CaissonError("invalid_argument", `value: longer than ${MAX_XATTRS} bytes.`);
      if (others + name.length + value.length > MAX_XATTRS) throw new CaissonError("no_space", `${at.where}: no room for the attribute.`);
      node.xattrs.set(name, Uint8Array.from(value));
      node.revision++;
      call.reply({}, { fin: true });
    },
    RemoveXattr: (call, params) => {
      const [at, name] = [place(params), attribute(params)];
      params.finish();
      const node = changed(at, name);
      if (!node.xattrs.delete(name)) throw new CaissonError("not_found", `${at.where}: ${name} is not there.`);
      node.revision++;
      call.reply({}, { fin: true });
    },
    Digest: (call, params) => {
      const [where, user] = [required("path", params.path("path")), mockUser(params.text("user") ?? guest.options.user)];
      params.finish();
      const file = files.open(where, user);
      const sha256 = createHash("sha256").update(file.content.view()).digest("hex");
      call.reply({ entry: files.entry(where, file), sha256 }, { fin: true });
    },
  };
}
