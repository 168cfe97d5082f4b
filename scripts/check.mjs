// `npm run check`: everything that can be said about the code without running it.
import { join } from "node:path";
import process from "node:process";
import { ensureDependencies } from "./lib/dependencies.mjs";
import { childEnv, findProgram, ROOT } from "./lib/project.mjs";
import { bold, dim, green, main, red, run, say, seconds, yellow } from "./lib/terminal.mjs";

const bin = (name) => join(ROOT, "node_modules", ".bin", name);
const agent = join(ROOT, "agent");

/** Every check: its name, program and arguments; `needs` names a program without which it is skipped. */
const CHECKS = [
  { name: "format", program: bin("oxfmt"), args: ["--check", "."] },
  { name: "lint", program: bin("oxlint"), args: ["--type-aware", "--deny-warnings"] },
  { name: "types", program: bin("tsc"), args: ["-b"] },
  { name: "boundaries", program: process.execPath, args: [join(ROOT, "scripts", "boundaries.mjs")] },
  { name: "cargo fmt", program: "cargo", args: ["fmt", "--check"], cwd: agent, needs: ["cargo", "rustfmt"] },
  {
    name: "cargo clippy",
    program: "cargo",
    args: ["clippy", "--offline", "--", "-D", "warnings"],
    cwd: agent,
    needs: ["cargo", "cargo-clippy"],
  },
];

/** Runs every check, the failed ones' output shown; returns how many failed. */
export async function check() {
  const lines = [];
  let failed = 0;
  for (const { name, program, args, cwd, needs } of CHECKS) {
    const missing = (needs ?? []).filter((tool) => findProgram(tool) === undefined);
    if (missing.length > 0) {
      lines.push(`${yellow("-")} ${name} ${dim(`skipped: no ${missing.join(", ")} on this machine`)}`);
      continue;
    }
    const begin = Date.now();
    say(`${bold("▸")} ${name}`);
    const ok = await run(program, args, { cwd: cwd ?? ROOT, env: childEnv() }).then(
      () => true,
      () => false,
    );
    if (!ok) failed += 1;
    lines.push(`${ok ? green("✓") : red("✗")} ${name} ${dim(seconds(Date.now() - begin))}`);
  }
  for (const line of lines) say(line);
  return failed;
}

if (process.argv[1] === join(ROOT, "scripts", "check.mjs")) {
  await main(async () => {
    await ensureDependencies();
    return (await check()) === 0 ? 0 : 1;
  });
}
