// Programs that come from the machine's package manager.
import { mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { exists, findProgram, hasPostgres, isDebian, isRoot } from "./project.mjs";
import { run, say, step, yellow } from "./terminal.mjs";

const program = (name) => () => findProgram(name) !== undefined;
const anyFile =
  (...paths) =>
  () =>
    paths.some(exists);

/** What sandboxes need: whether it is there, and the packages that bring it. */
export const RUNTIME_NEEDS = [
  { present: program("bwrap"), packages: ["bubblewrap"] },
  { present: program("crun"), packages: ["crun"] },
  { present: program("runc"), packages: ["runc"] },
  { present: program("newuidmap"), packages: ["uidmap"] },
  { present: program("skopeo"), packages: ["skopeo"] },
  { present: program("umoci"), packages: ["umoci"] },
  // The image `host` shows the machine's /usr: a sandbox has Python when the machine has it there.
  { present: anyFile("/usr/bin/python3"), packages: ["python3"] },
];

/** What building the agent needs. */
export const BUILD_NEEDS = [
  { present: program("cc"), packages: ["gcc"] },
  {
    present: anyFile("/usr/lib/x86_64-linux-gnu/libc.a", "/usr/lib/aarch64-linux-gnu/libc.a", "/usr/lib64/libc.a", "/usr/lib/libc.a"),
    packages: ["libc6-dev"],
  },
  { present: program("cargo"), packages: ["rustc", "cargo"] },
];

/** What the tests need besides. */
export const TEST_NEEDS = [
  { present: program("docker-registry"), packages: ["docker-registry"] },
  { present: program("busybox"), packages: ["busybox-static"] },
  { present: anyFile("/usr/bin/git"), packages: ["git"] },
  { present: program("chromium"), packages: ["chromium"] },
  { present: program("tmux"), packages: ["tmux"] },
  { present: program("vim"), packages: ["vim"] },
  { present: program("htop"), packages: ["htop"] },
  { present: program("curl"), packages: ["curl"] },
  { present: program("ip"), packages: ["iproute2"] },
  { present: program("nft"), packages: ["nftables"] },
  { present: program("faketime"), packages: ["faketime"] },
  { present: hasPostgres, packages: ["postgresql"], prepare: withoutCluster },
  { present: anyFile("/etc/ssl/certs/ca-certificates.crt"), packages: ["ca-certificates"] },
];

/** Debian's package would make and start a database of its own; the tests make theirs. Where somebody has said otherwise it stays so. */
function withoutCluster() {
  const file = "/etc/postgresql-common/createcluster.conf";
  if (exists(file)) return;
  mkdirSync("/etc/postgresql-common", { recursive: true });
  writeFileSync(file, "create_main_cluster = false\n");
}

/**
 * Installs the packages of needs that are not met, where that can be done without asking: as root on Debian or Ubuntu.
 * Elsewhere it prints the one command to run. Never fails: what is missing shows in what works afterwards.
 * @returns {Promise<boolean>} whether every need is met now
 */
export async function ensureSystemPackages(needs) {
  const unmet = needs.filter((need) => !need.present());
  const missing = unmet.flatMap((need) => need.packages);
  if (missing.length === 0) return true;
  if (!isDebian() || !isRoot()) {
    say(`${yellow("!")} Missing on this machine: ${missing.join(", ")}. To have them:`);
    say(`    ${installCommand(missing)}`);
    return false;
  }
  for (const need of unmet) need.prepare?.();
  try {
    await step(`Install system packages: ${missing.join(", ")} (apt-get)`, () => aptInstall(missing));
  } catch {
    // One package that this release lacks makes apt refuse all: take what there is.
    for (const name of missing) {
      await step(`Install ${name}`, () => aptInstall([name])).catch((error) => say(`${yellow("!")} ${error.message}`));
    }
  }
  return needs.every((need) => need.present());
}

/** The command that a person runs to install packages. */
export function installCommand(packages) {
  const sudo = isRoot() ? "" : "sudo ";
  return isDebian()
    ? `${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends ${packages.join(" ")}`
    : `install with your package manager what Debian calls: ${packages.join(" ")}`;
}

/** How often the lists of packages are asked for, and the rest between two attempts, in ms. */
const LISTS = { attempts: 4, restMs: 15_000 };
let listsAsked = false;

async function aptInstall(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const lock = ["-o", "DPkg::Lock::Timeout=300"];
  if (!listsAsked) await updateLists(env);
  listsAsked = true;
  await run("apt-get", [...lock, "install", "-y", "-q", "--no-install-recommends", ...packages], { env });
}

/** Fetches the lists of packages. Another apt that has their lock, as after a boot, is waited for; in the end those that are there count. */
async function updateLists(env) {
  for (let attempt = 1; attempt <= LISTS.attempts; attempt += 1) {
    try {
      return await run("apt-get", ["update", "-q"], { env });
    } catch (error) {
      say(`${yellow("!")} ${error.message}`);
    }
    if (attempt < LISTS.attempts) await sleep(LISTS.restMs);
  }
}
