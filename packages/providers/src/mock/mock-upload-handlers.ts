import { createHash } from "node:crypto";
import { CaissonError, type Timer } from "@caisson/contract";
import { required, type GuestHandlers, type Params } from "@caisson/guest";
import type { IncomingCall } from "@caisson/link";
import type { MockGuest } from "./mock-guest.ts";
import { FileContent } from "./mock-node.ts";
import { mockUser, type MockUser } from "./mock-user.ts";

const MAX_UPLOADS = 256;
const MAX_EXPIRES_MS = 7 * 86_400_000;
const DEFAULT_EXPIRES_MS = 86_400_000;
const MAX_MODE = 0o7777;
const WRITE_AND_SEARCH = 3;

interface MockUpload {
  readonly id: number;
  readonly path: string;
  readonly size: number | undefined;
  readonly mode: number | undefined;
  readonly user: MockUser;
  readonly expiresMs: number;
  readonly content: FileContent;
  expiresAt: number;
  /** The call that writes. */
  writer: IncomingCall | undefined;
}

/** The methods of uploads. */
export function mockUploadHandlers(guest: MockGuest): GuestHandlers {
  const { files } = guest;
  const { clock } = guest.options;
  const uploads = new Map<number, MockUpload>();
  const timers = new Map<number, Timer>();
  let nextId = 1;

  function find(params: Params): MockUpload {
    const id = required("id", params.int("id"));
    const upload = uploads.get(id);
    if (upload === undefined) throw missing(id);
    return upload;
  }

  function endWriter(upload: MockUpload): void {
    upload.writer?.fail(new CaissonError("cancelled", "Another call took the upload over, or it is gone."));
    upload.writer = undefined;
  }

  function drop(upload: MockUpload): void {
    endWriter(upload);
    uploads.delete(upload.id);
    timers.get(upload.id)?.cancel();
    timers.delete(upload.id);
  }

  /** Its time begins anew. */
  function touch(upload: MockUpload): void {
    timers.get(upload.id)?.cancel();
    upload.expiresAt = clock.now() + upload.expiresMs;
    timers.set(
      upload.id,
      clock.schedule(upload.expiresMs, () => drop(upload)),
    );
  }

  const shown = (upload: MockUpload): Record<string, unknown> => ({
    id: upload.id,
    path: upload.path,
    offset: upload.content.size,
    expires_at_ms: Math.floor(upload.expiresAt),
    ...(upload.size !== undefined && { size: upload.size }),
  });

  return {
    OpenUpload: (call, params) => {
      const path = required("path", params.path("path"));
      const [size, mode, parents] = [params.int("size"), params.int("mode", 0, MAX_MODE), params.flag("create_parents", true)];
      const expiresMs = params.int("expires_ms", 1, MAX_EXPIRES_MS) ?? DEFAULT_EXPIRES_MS;
      const user = mockUser(params.text("user") ?? guest.options.user);
      params.finish();
      if (path.endsWith("/")) throw new CaissonError("is_a_directory", `${path}: names a directory.`);
      if (uploads.size >= MAX_UPLOADS) throw new CaissonError("resource_exhausted", `${uploads.size} uploads are open.`);
      if (parents) files.makeDirs(path.replace(/\/[^/]*$/, "") || "/", user);
      const place = files.find(path, user, "follow");
      if (place.node?.type === "directory") throw new CaissonError("is_a_directory", `${path}: is a directory.`);
      files.check(place.parent, user, WRITE_AND_SEARCH, path);
      const upload: MockUpload = {
        id: nextId++,
        path,
        size,
        mode,
        user,
        expiresMs,
        content: new FileContent(),
        expiresAt: 0,
        writer: undefined,
      };
      uploads.set(upload.id, upload);
      touch(upload);
      call.reply({ upload: shown(upload) }, { fin: true });
    },
    WriteUpload: async (call, params) => {
      const [upload, offset] = [find(params), required("offset", params.int("offset"))];
      params.finish();
      endWriter(upload);
      if (offset !== upload.content.size) throw conflict(upload, `The upload stands at byte ${upload.content.size}.`);
      upload.writer = call;
      for await (const frame of call) {
        if (frame.kind !== "data") continue;
        if (upload.writer !== call) return;
        if (upload.size !== undefined && upload.content.size + frame.bytes.length > upload.size)
          throw new CaissonError("invalid_argument", `More bytes than the ${upload.size} announced.`);
        upload.content.writeAt(upload.content.size, frame.bytes);
        touch(upload);
      }
      if (upload.writer === call) upload.writer = undefined;
      call.reply({ offset: upload.content.size }, { fin: true });
    },
    GetUpload: (call, params) => {
      const id = params.int("id");
      params.finish();
      const upload = id === undefined ? undefined : uploads.get(id);
      if (id === undefined) call.reply({ uploads: [...uploads.values()].map(shown) }, { fin: true });
      else if (upload === undefined) throw missing(id);
      else call.reply({ upload: shown(upload) }, { fin: true });
    },
    CommitUpload: (call, params) => {
      const [upload, told] = [find(params), params.text("sha256")];
      params.finish();
      if (told !== undefined && !/^[0-9a-f]{64}$/.test(told))
        throw new CaissonError("invalid_argument", "sha256: expected 64 lower-case hex digits.");
      endWriter(upload);
      const { content, path, user, size } = upload;
      if (size !== undefined && content.size < size) throw conflict(upload, `${content.size} of ${size} bytes have arrived.`);
      const sha256 = createHash("sha256").update(content.view()).digest("hex");
      if (told !== undefined && told !== sha256)
        throw new CaissonError("digest_mismatch", `The bytes that arrived have the SHA-256 ${sha256}.`);
      const node = files.replace(path, user, content, upload.mode);
      drop(upload);
      call.reply({ entry: files.entry(path, node), sha256 }, { fin: true });
    },
    CancelUpload: (call, params) => {
      const upload = find(params);
      params.finish();
      drop(upload);
      call.reply({}, { fin: true });
    },
  };
}

function missing(id: number): CaissonError {
  return new CaissonError("not_found", `There is no upload ${id}.`);
}

function conflict(upload: MockUpload, message: string): CaissonError {
  return new CaissonError("conflict", message, { detail: { offset: upload.content.size } });
}
