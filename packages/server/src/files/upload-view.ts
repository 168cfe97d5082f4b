import type { Upload as UploadInfo } from "@caisson/contract";
import type { Upload } from "@caisson/guest";
import { isoTime } from "../http/iso-time.ts";

/** An upload as the API shows it. */
export function toUploadInfo({ id, path, offset, size, expiresAtMs }: Upload): UploadInfo {
  return { upload_id: id, path, offset, size, expires_at: isoTime(expiresAtMs) };
}
