import { access, statfs } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { CaissonError, type Clock } from "@caisson/contract";
import { isMissing } from "../durable/file-error.ts";
import { removeTree } from "../durable/remove-tree.ts";
import { runProgram } from "../durable/run-program.ts";
import { syncTree } from "../durable/sync-tree.ts";
import type { Content } from "./image-record.ts";
import type { ImageReference } from "./image-reference.ts";
import { readLayout } from "./oci-layout.ts";
import { tidyTree } from "./tidy-tree.ts";

/** Programs that fetch and unpack OCI images. */
export interface PullPrograms {
  readonly skopeo: string;
  readonly umoci: string;
}

/** One image to fetch. */
export interface PullRequest {
  readonly reference: ImageReference;
  /** A fresh folder; `rootfs` in it is what remains. */
  readonly staged: string;
  /** Whether the registry is spoken to without TLS. */
  readonly insecure: boolean;
  readonly programs: PullPrograms;
  readonly clock: Clock;
}

/** A program never runs longer than this, in ms; the caller's signal comes first as a rule. */
const PROGRAM_DEADLINE_MS = 3_600_000;
/** Free bytes below which a failure is taken to be a full disk. */
const LITTLE_SPACE = 64 * 1024 * 1024;
/** Variables of ours that the programs may need: where they are, where to log in, how to get out. */
const PASSED_ENV = [
  "PATH",
  "HOME",
  "XDG_RUNTIME_DIR",
  "REGISTRY_AUTH_FILE",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
];

/** Fetches an image with skopeo and unpacks it with umoci into `<staged>/rootfs`. */
export async function pullImage(request: PullRequest, signal: AbortSignal): Promise<Content> {
  const { reference, staged, programs } = request;
  const layout = join(staged, "layout");
  const rootfs = join(staged, "rootfs");
  const isRoot = process.getuid?.() === 0;
  // A digest says more than a tag, and the registry takes one of them.
  const tagged = reference.digest === undefined ? `:${reference.tag ?? "latest"}` : `@${reference.digest}`;
  const source = `docker://${reference.registry}/${reference.repository}${tagged}`;
  await run(
    request,
    programs.skopeo,
    [
      ...((await hasPolicy()) ? [] : ["--insecure-policy"]),
      "--tmpdir",
      staged,
      "copy",
      "--quiet",
      ...(request.insecure ? ["--src-tls-verify=false"] : []),
      source,
      `oci:${layout}:image`,
    ],
    signal,
  );
  const config = await readLayout(layout, reference.text);
  // Raw: no bundle around it, whose making fails when the image's user has no line in its passwd.
  const unpack = ["raw", "unpack", ...(isRoot ? [] : ["--rootless"]), "--image", `${layout}:image`, rootfs];
  await run(request, programs.umoci, unpack, signal);
  await removeTree(layout);
  const { bytes } = await tidyTree(rootfs, signal);
  await syncTree(rootfs, signal);
  return { version: 1, digest: config.digest, size_bytes: bytes, owner: isRoot ? "root" : "self", defaults: config.defaults };
}

async function run(request: PullRequest, program: string, args: readonly string[], signal: AbortSignal): Promise<void> {
  const { reference, staged, clock } = request;
  const env: NodeJS.ProcessEnv = { TMPDIR: staged };
  for (const name of PASSED_ENV) if (process.env[name] !== undefined) env[name] = process.env[name];
  const doing = `pulling ${reference.text}`;
  const result = await runProgram({ program, args, env, clock, deadlineMs: PROGRAM_DEADLINE_MS, signal, doing });
  if (result.status === 0) return;
  const { bavail, bsize } = await statfs(staged);
  if (bavail * bsize < LITTLE_SPACE)
    throw new CaissonError("no_space", `The worker's disk is full: ${doing}.`, { detail: { where: "worker" } });
  const said = result.stderr.trim().split("\n").slice(-5).join("\n");
  throw new CaissonError("image_not_found", `${reference.text} could not be pulled: ${said}`, {
    detail: { program, status: result.status },
  });
}

/** Whether the machine has a policy of its own on which images to trust. */
async function hasPolicy(): Promise<boolean> {
  for (const path of ["/etc/containers/policy.json", join(homedir(), ".config/containers/policy.json")]) {
    try {
      await access(path);
      return true;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return false;
}
