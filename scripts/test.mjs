// `npm test`: sets up what the tests need, then checks the code and runs every suite. `--long` runs the long forms: ten times
// the simulator's seeds and the commands, more fuzzing, and suites named `*.long.test.ts`.
// Further arguments go to vitest.
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { check } from "./check.mjs";
import { ensureAgent } from "./lib/agent.mjs";
import { ensureDependencies } from "./lib/dependencies.mjs";
import { CACHE, childEnv, findProgram, isDebian, isRoot, ROOT, TOOLS } from "./lib/project.mjs";
import { BUILD_NEEDS, ensureSystemPackages, RUNTIME_NEEDS, TEST_NEEDS } from "./lib/system-packages.mjs";
import { bold, dim, main, run, runAttached, say, seconds, step, yellow } from "./lib/terminal.mjs";

const PROVIDERS = "mock,oci:crun,oci:runc,oci:runsc,bubblewrap,bubblewrap:user";
/** What `--long` asks of suites that have a short form; each can be set by hand. */
const LONG = { LONG_TESTS: "1", SIM_SEEDS: "100000", CAISSON_RUNS: "100000", CAISSON_FUZZ_CASES: "20000" };
const REPORT = join(CACHE, "vitest.json");

await main(async () => {
  const begin = Date.now();
  const args = process.argv.slice(2);
  const long = args.includes("--long");
  const node = await ensureDependencies();
  const complete = (await ensureSystemPackages([...RUNTIME_NEEDS, ...BUILD_NEEDS, ...TEST_NEEDS])) && (await ensureRunsc());
  await ensureAgent();

  const failedChecks = await check();
  const cargo = await cargoTests(long ? longSettings() : {});
  const strict = complete || process.env.CI === "true";
  if (!strict) say(`${yellow("!")} Not everything could be installed: suites of providers that do not work here are skipped.`);
  const vitest = await vitestSuites(
    node,
    args.filter((arg) => arg !== "--long"),
    { long, strict },
  );

  const passed = cargo.passed + vitest.passed;
  const failed = cargo.failed + vitest.failed + failedChecks;
  const skipped = cargo.skipped + vitest.skipped;
  if (failedChecks > 0) say(`${failedChecks} of the checks failed; they count as failed.`);
  say(dim(`all in ${seconds(Date.now() - begin)}`));
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  return failed === 0 && passed > 0 ? 0 : 1;
});

async function ensureRunsc() {
  if (findProgram("runsc") !== undefined) return true;
  if (!isDebian() || !isRoot()) {
    say(`${yellow("!")} gVisor's runsc is missing. As root on Debian: sh scripts/install-runsc.sh ${TOOLS}`);
    return false;
  }
  mkdirSync(TOOLS, { recursive: true });
  return step("Fetch gVisor's runsc into .caisson/bin", () => run("sh", [join(ROOT, "scripts", "install-runsc.sh"), TOOLS])).then(
    () => true,
    () => false,
  );
}

async function cargoTests(settings) {
  if (findProgram("cargo") === undefined) {
    say(`${yellow("-")} cargo test skipped: no cargo on this machine`);
    return { passed: 0, failed: 0, skipped: 0 };
  }
  // The agent's integration tests switch users, as it does in a box.
  const scope = isRoot() ? [] : ["--lib"];
  if (!isRoot()) say(`${yellow("-")} cargo: integration tests skipped, they need root to switch users`);
  let ok = true;
  const output = await step("cargo test", () =>
    run("cargo", ["test", "--offline", ...scope], { cwd: join(ROOT, "agent"), env: childEnv(settings) }),
  ).catch(() => {
    ok = false;
    return "";
  });
  const total = { passed: 0, failed: ok ? 0 : 1, skipped: 0 };
  for (const match of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm)) {
    total.passed += Number(match[1]);
    total.failed += Number(match[2]);
    total.skipped += Number(match[3]);
  }
  return total;
}

async function vitestSuites(node, args, { long, strict }) {
  say(`${bold("▸")} vitest`);
  mkdirSync(CACHE, { recursive: true });
  rmSync(REPORT, { force: true });
  const env = childEnv({
    ...(long ? longSettings() : {}),
    ...(strict && isRoot() ? { REQUIRE_LAB: process.env.REQUIRE_LAB ?? "1" } : {}),
    ...(strict ? { REQUIRE_PROVIDERS: process.env.REQUIRE_PROVIDERS ?? PROVIDERS, REQUIRE_IMAGES: process.env.REQUIRE_IMAGES ?? "1" } : {}),
  });
  const vitest = join(ROOT, "node_modules", "vitest", "vitest.mjs");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${REPORT}`];
  const code = await runAttached(node, [vitest, "run", ...reporters, ...args], { cwd: ROOT, env });
  const report = readReport();
  const failed = report.numFailedTests + report.suitesWithoutTests;
  return {
    passed: report.numPassedTests,
    // A run that failed without a failed test (a broken hook, an unhandled error) still counts.
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

function longSettings() {
  return Object.fromEntries(Object.entries(LONG).map(([name, value]) => [name, process.env[name] ?? value]));
}

function readReport() {
  try {
    const report = JSON.parse(readFileSync(REPORT, "utf8"));
    const broken = report.testResults.filter(
      (file) => file.status === "failed" && !file.assertionResults.some((one) => one.status === "failed"),
    );
    return { ...report, suitesWithoutTests: broken.length };
  } catch {
    return { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, suitesWithoutTests: 1 }; // vitest did not get that far
  }
}
