// npm packages: installed when what is in node_modules is not what package-lock.json says.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { exists, isExecutable, PROJECT_NODE, projectNode, ROOT } from "./project.mjs";
import { run, step, StepFailed } from "./terminal.mjs";

/** Installs the npm packages unless they are there; afterwards a Node that can run the project exists. */
export async function ensureDependencies() {
  if (!installed()) await step("Install npm packages (npm ci)", install);
  if (Number(process.versions.node.split(".")[0]) < 24 && !isExecutable(PROJECT_NODE)) {
    throw new StepFailed(
      `This machine's Node is ${process.versions.node}, and no newer one could be installed for ${process.platform}-${process.arch}.`,
      "Install Node 24 or newer, then run this again.",
    );
  }
  return projectNode();
}

async function install() {
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
  const npm = process.env.npm_execpath;
  // The running npm when there is one: a machine may have several.
  if (npm !== undefined && npm.endsWith(".js") && exists(npm)) await run(process.execPath, [npm, ...args], { cwd: ROOT });
  else await run("npm", args, { cwd: ROOT });
}

/** Compares npm's own record of what it installed, written last, with the lock file. */
function installed() {
  const wanted = readPackages(join(ROOT, "package-lock.json"));
  const present = readPackages(join(ROOT, "node_modules", ".package-lock.json"));
  if (wanted === undefined || present === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith("node_modules/") || !fitsMachine(entry)) return true;
    const found = present[path];
    return found === undefined ? entry.optional === true && !isOurNode(path) : found.version === entry.version;
  });
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8")).packages;
  } catch {
    return undefined; // absent or half-written: then it is installed anew
  }
}

const fitsMachine = (entry) => fits(entry.os, process.platform) && fits(entry.cpu, process.arch);
const fits = (list, own) => list === undefined || list.includes(own);
const isOurNode = (path) => path === `node_modules/node-${process.platform}-${process.arch}`;
