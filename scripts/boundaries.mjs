// Which package may import which. Arrows point down only, and only to a package's public face.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import process from "node:process";
import { ROOT } from "./lib/project.mjs";

/** Floor of each package: it may import packages of lower floors only. */
const FLOORS = {
  contract: 0,
  link: 1,
  store: 1,
  sdk: 1,
  identity: 1,
  guest: 2,
  "worker-link": 2,
  providers: 3,
  worker: 4,
  control: 4,
  server: 5,
  cli: 6,
};
/** Packages for tests: importable from tests, and from exported conformance suites, anywhere. */
const TEST_ONLY = ["testkit", "vitest", "fast-check"];

const IMPORT =
  /(?:^|[\s;}])(?:import|export)\s[^'"`;]*?from\s*["']([^"']+)["']|(?:^|[\s;}])import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/g;
const isTest = (path) =>
  /\.(?:long\.)?(?:test|bench)\.ts$|(?:^|\/)(?:[a-z-]*suite|conformance|testing|fixtures?|sim)(?:\/|[^/]*\.ts$)/.test(path);

/** Every breach of the rules, one sentence each. */
export function breaches() {
  const found = [];
  for (const name of readdirSync(join(ROOT, "packages"))) {
    const root = join(ROOT, "packages", name);
    const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    if (name !== "testkit" && FLOORS[name] === undefined) found.push(`packages/${name} has no floor in scripts/boundaries.mjs`);
    for (const file of codeFiles(root)) {
      const path = relative(ROOT, file).split(sep).join("/");
      for (const specifier of importsOf(file)) {
        const reason = refuse({ name, root, file, path, manifest, specifier });
        if (reason !== undefined) found.push(`${path}: imports ${specifier}: ${reason}`);
      }
    }
  }
  return found;
}

function refuse({ name, root, file, path, manifest, specifier }) {
  if (specifier.startsWith("node:")) return undefined;
  if (specifier.startsWith(".")) {
    const target = resolve(dirname(file), specifier);
    return target.startsWith(root + sep) ? undefined : "a relative path out of its package; import the package by name";
  }
  const [scopeOrName, second, ...inside] = specifier.split("/");
  const test = isTest(path);
  if (scopeOrName !== "@caisson") {
    const packageName = specifier.startsWith("@") ? `${scopeOrName}/${second}` : scopeOrName;
    if (TEST_ONLY.includes(packageName)) return test || name === "testkit" ? undefined : "only tests may";
    return test || manifest.dependencies?.[packageName] !== undefined ? undefined : "not among the package's dependencies";
  }
  if (second === name) return "its own package by name; use a relative path";
  if (inside.length > 0 && !isExported(second, inside.join("/"))) return "the inside of another package";
  if (TEST_ONLY.includes(second)) return test ? undefined : "only tests may";
  if (FLOORS[second] === undefined) return "no such package";
  if (name === "testkit") return second === "contract" ? undefined : "testkit may import contract only";
  if (FLOORS[second] >= FLOORS[name]) return test ? undefined : `floor ${FLOORS[second]} from floor ${FLOORS[name]}`;
  return test || manifest.dependencies?.[specifier.split("/").slice(0, 2).join("/")] !== undefined
    ? undefined
    : "not among the package's dependencies";
}

function isExported(name, subpath) {
  const manifest = JSON.parse(readFileSync(join(ROOT, "packages", name, "package.json"), "utf8"));
  return manifest.exports?.[`./${subpath}`] !== undefined;
}

function importsOf(file) {
  // Comments show example imports; they are not code.
  const text = readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  return [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]);
}

function codeFiles(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return ["node_modules", "dist"].includes(entry.name) ? [] : codeFiles(path);
    return /\.(?:ts|mjs)$/.test(entry.name) ? [path] : [];
  });
}

if (process.argv[1] === join(ROOT, "scripts", "boundaries.mjs")) {
  const found = breaches();
  for (const line of found) process.stdout.write(`${line}\n`);
  process.exitCode = found.length === 0 ? 0 : 1;
}
