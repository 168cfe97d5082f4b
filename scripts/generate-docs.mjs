// Writes the files that are made from tables and schemas: the API's description and the pages of errors and configuration.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { ensureDependencies } from "./lib/dependencies.mjs";
import { childEnv, ROOT } from "./lib/project.mjs";
import { main, run, say } from "./lib/terminal.mjs";

const CONDITION = "--conditions=@caisson/source";

await main(async () => {
  if (!process.execArgv.includes(CONDITION)) {
    // The sources run only on the project's own Node, which takes them as they are.
    const node = await ensureDependencies();
    await run(node, [CONDITION, join(ROOT, "scripts", "generate-docs.mjs")], { cwd: ROOT, env: childEnv() });
    return 0;
  }
  const source = join(ROOT, "packages", "server", "src", "reference", "generated-files.ts");
  const { generatedFiles } = await import(pathToFileURL(source).href);
  for (const [path, content] of Object.entries(await generatedFiles())) {
    await writeFile(join(ROOT, path), content);
    say(path);
  }
  return 0;
});
