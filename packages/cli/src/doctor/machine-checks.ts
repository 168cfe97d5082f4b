import { readFileSync } from "node:fs";
import { release, userInfo } from "node:os";
import { agentIsBuilt } from "../serve/agent-path.ts";
import { ok, warn, type Check } from "./check.ts";
import { firstLineOf } from "./run-tool.ts";

/** What the machine itself has, apart from providers. */
export async function checkMachine(): Promise<readonly Check[]> {
  return [checkAgent(), await checkUserNamespaces(), checkSubordinateIds(), checkCgroups(), checkIdmappedMounts(), await checkImageTools()];
}

function checkAgent(): Check {
  if (agentIsBuilt()) return ok("guest agent", "built");
  return { name: "guest agent", state: "fail", detail: "not built", remedy: "scripts/build-agent.sh" };
}

async function checkUserNamespaces(): Promise<Check> {
  const name = "user namespaces";
  if ((await firstLineOf("unshare", ["--user", "--map-root-user", "true"])) !== undefined) return ok(name, "work");
  if (readNumber("/proc/sys/user/max_user_namespaces") === 0) {
    return { name, state: "fail", detail: "are switched off", remedy: "sysctl -w user.max_user_namespaces=65536" };
  }
  if (readNumber("/proc/sys/kernel/unprivileged_userns_clone") === 0) {
    return { name, state: "fail", detail: "are for root only", remedy: "sysctl -w kernel.unprivileged_userns_clone=1" };
  }
  if (readNumber("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") === 1) {
    return { name, state: "fail", detail: "are held back by AppArmor", remedy: "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" };
  }
  return {
    name,
    state: "fail",
    detail: "do not work (unshare --user true failed)",
    remedy: "run Caisson as root, or outside of a container that forbids them",
  };
}

/** Ranges of ids that a plain user may map; root needs none. */
function checkSubordinateIds(): Check {
  const name = "subordinate ids";
  if (process.getuid?.() === 0) return ok(name, "not needed by root");
  const user = userInfo().username;
  const has = (path: string): boolean => (readText(path) ?? "").split("\n").some((line) => line.startsWith(`${user}:`));
  if (has("/etc/subuid") && has("/etc/subgid")) return ok(name, `${user} has a range`);
  return warn(
    name,
    `${user} has none: sandboxes have one user only`,
    `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user}`,
  );
}

function checkCgroups(): Check {
  const name = "control groups";
  const mounts = (readText("/proc/self/mountinfo") ?? "").split("\n");
  const v1 = mounts.flatMap((line) => / - cgroup \S+ (\S+)/.exec(line)?.[1]?.split(",") ?? []);
  const v2 = mounts.some((line) => line.includes(" - cgroup2 "));
  const wanted = ["memory", "cpu", "pids"];
  const found = v1.some((one) => wanted.includes(one)) ? v1 : (readText("/sys/fs/cgroup/cgroup.controllers") ?? "").trim().split(" ");
  const kind = v1.includes("memory") ? (v2 ? "v1, with v2 beside it" : "v1") : v2 ? "v2" : "none";
  const missing = wanted.filter((one) => !found.includes(one));
  if (missing.length > 0)
    return warn(name, `${kind}; without ${missing.join(", ")}`, "mount control groups with these controllers, as systemd does");
  if (process.getuid?.() !== 0)
    return warn(name, `${kind}; not ours to use, so limits are refused`, "run the server as root to have limits");
  return ok(name, `${kind}; memory, cpu, pids`);
}

function checkIdmappedMounts(): Check {
  const name = "idmapped mounts";
  const [major = 0, minor = 0] = release()
    .split(".")
    .map((part) => Number.parseInt(part, 10));
  if (major > 5 || (major === 5 && minor >= 19)) return ok(name, `kernel ${release()} has them, below overlays too`);
  return warn(name, `kernel ${release()} lacks them below overlays: images are copied once per range of ids`, "a kernel of 5.19 or newer");
}

async function checkImageTools(): Promise<Check> {
  const name = "image tools";
  const [skopeo, umoci] = await Promise.all([firstLineOf("skopeo", ["--version"]), firstLineOf("umoci", ["--version"])]);
  const missing = [skopeo === undefined ? "skopeo" : "", umoci === undefined ? "umoci" : ""].filter((one) => one !== "");
  if (missing.length === 0) return ok(name, `${skopeo}, ${umoci}`);
  const sudo = process.getuid?.() === 0 ? "" : "sudo ";
  return warn(
    name,
    `no ${missing.join(", no ")}: images cannot be pulled`,
    `${sudo}apt-get install -y --no-install-recommends ${missing.join(" ")}`,
  );
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // not on this kernel
  }
}

function readNumber(path: string): number | undefined {
  const text = readText(path);
  return text === undefined ? undefined : Number(text);
}
