import type { z } from "zod";
import {
  chmodFileSchema,
  chownFileSchema,
  commitUploadSchema,
  createSandboxSchema,
  execRequestSchema,
  extendSandboxSchema,
  makeDirSchema,
  moveFileSchema,
  openUploadSchema,
  pullImageSchema,
  replaceInFilesSchema,
  searchFilesSchema,
  setXattrSchema,
  signFileSchema,
  signalRequestSchema,
  writeFileSchema,
} from "@caisson/contract";

/** Examples of the request bodies of one operation. */
export interface OperationExamples {
  readonly schema: z.ZodType;
  /** By a name that tells what it shows. */
  readonly bodies: Readonly<Record<string, unknown>>;
}

/** Examples by operation id. */
export const EXAMPLES: Readonly<Record<string, OperationExamples>> = {
  createSandbox: {
    schema: createSandboxSchema,
    bodies: {
      "with the defaults": {},
      "on a worker with a label": { image: "host", worker_labels: { gpu: "yes" }, tenant_id: "team-a" },
      "with limits and labels": { image: "host", memory_mb: 512, vcpus: 1, pids: 256, ttl: "10m", metadata: { team: "a" } },
    },
  },
  extendSandbox: { schema: extendSandboxSchema, bodies: { "half an hour from now": { ttl: "30m" } } },
  exec: {
    schema: execRequestSchema,
    bodies: {
      "a shell line": { command: "python3 -c 'print(6*7)'", timeout: "30s" },
      "a program with arguments": { command: "ls", args: ["-l", "/a folder"], workdir: "/" },
      "a stream": { command: "for i in 1 2 3; do echo $i; sleep 1; done", stream: true },
      "in the background": { command: "python3 -m http.server 8000", background: true },
      "with input": { command: "sort", stdin: "b\na\n" },
    },
  },
  signalProcess: { schema: signalRequestSchema, bodies: { "kill the whole tree": { signal: "KILL" } } },
  writeFile: {
    schema: writeFileSchema,
    bodies: {
      text: { path: "/home/user/hello.txt", content: "hello\n", mode: "0644" },
      bytes: { path: "/tmp/a.bin", content_base64: "AAEC" },
    },
  },
  moveFile: { schema: moveFileSchema, bodies: { rename: { old_path: "/tmp/a.bin", new_path: "/tmp/b.bin" } } },
  chmodFile: { schema: chmodFileSchema, bodies: { "make it a program": { path: "/home/user/run.sh", mode: "0755" } } },
  chownFile: { schema: chownFileSchema, bodies: { "give it away": { path: "/srv", owner: "user:user", recursive: true } } },
  openUpload: { schema: openUploadSchema, bodies: { "of a known size": { path: "/home/user/model.bin", size: 2147483648 } } },
  commitUpload: {
    schema: commitUploadSchema,
    bodies: { checked: { sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }, "as it came": {} },
  },
  searchFiles: {
    schema: searchFilesSchema,
    bodies: {
      "a regular expression": { path: "/home/user", pattern: "^import (\\w+)", include: ["**/*.py"] },
      "plain text": { path: "/srv", pattern: "a.b(", fixed: true, limit: 100 },
    },
  },
  replaceInFiles: {
    schema: replaceInFilesSchema,
    bodies: { "tell what would be done": { path: "/home/user", pattern: "foo_(\\w+)", replacement: "bar_$1", dry_run: true } },
  },
  signFile: { schema: signFileSchema, bodies: { "a link for an hour": { path: "/home/user/report.pdf", action: "read", ttl: "1h" } } },
  setXattr: {
    schema: setXattrSchema,
    bodies: { "where it came from": { path: "/home/user/a.txt", name: "user.origin", value_base64: "dXBsb2Fk" } },
  },
  makeDirectory: { schema: makeDirSchema, bodies: { "with parents": { path: "/home/user/a/b" } } },
  pullImage: {
    schema: pullImageSchema,
    bodies: { Debian: { reference: "debian:12" }, "on one worker": { reference: "debian:12", worker_id: "worker-a" } },
  },
};
