import type { z } from "zod";
import {
  chmodFileSchema,
  chownFileSchema,
  createSandboxSchema,
  execRequestSchema,
  extendSandboxSchema,
  makeDirSchema,
  moveFileSchema,
  pullImageSchema,
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
  makeDirectory: { schema: makeDirSchema, bodies: { "with parents": { path: "/home/user/a/b" } } },
  pullImage: { schema: pullImageSchema, bodies: { Debian: { reference: "debian:12" } } },
};
