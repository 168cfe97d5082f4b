import { Caisson, Sandbox } from "@caisson/sdk";

/** What the child answers to the path of a module. */
export type ExampleAnswer = { readonly ok: true } | { readonly ok: false; readonly error: string };

/** Runs one example in a fresh sandbox; afterwards no sandbox is left on the server. */
async function run(path: string): Promise<ExampleAnswer> {
  const client = new Caisson();
  try {
    const { example } = (await import(path)) as { example: (sandbox: Sandbox, client: Caisson) => Promise<unknown> };
    const sandbox = await Sandbox.create({ image: "host" }, { client });
    await example(sandbox, client);
    return { ok: true };
  } catch (error) {
    return { ok: false, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  } finally {
    for await (const left of Sandbox.list({ client })) await left.destroy();
  }
}

process.on("message", (path: string) => {
  void run(path).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ ok: false, error: `the clean-up failed: ${String(error)}` }),
  );
});
