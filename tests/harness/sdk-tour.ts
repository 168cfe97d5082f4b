import { Caisson, Sandbox } from "@caisson/sdk";

/** Goes once through all that the SDK does, with nothing but what every platform has; returns what was seen. */
export async function sdkTour(url: string, apiKey: string): Promise<Record<string, unknown>> {
  const client = new Caisson({ url, apiKey });
  const sandbox = await Sandbox.create({ image: "host" }, { client });
  try {
    const seen: Record<string, unknown> = {};
    seen.run = (await sandbox.commands.run(["echo", "hello"])).stdout;
    seen.stream = "";
    for await (const event of sandbox.commands.stream("for i in 1 2 3; do echo $i; done")) {
      if (event.type === "output") seen.stream += event.text;
    }
    seen.input = (await sandbox.commands.run("cat", { stdin: new Blob(["from a stream"]).stream() })).stdout;
    await sandbox.files.write("/home/user/a.bin", new Uint8Array([0, 1, 255]));
    seen.file = [...(await sandbox.files.read("/home/user/a.bin"))];
    seen.watch = await firstChange(sandbox);
    seen.terminal = await terminal(sandbox);
    seen.code = (await sandbox.code.run("6 * 7")).text;
    seen.missing = await sandbox.files.read("/nowhere").catch((error: { code?: string }) => error.code);
    return seen;
  } finally {
    await sandbox.destroy();
  }
}

async function firstChange(sandbox: Sandbox): Promise<string | undefined> {
  for await (const item of sandbox.files.watch("/home/user")) {
    if (item.type === "ready") await sandbox.files.write("/home/user/new.txt", "new");
    else if (item.type === "change" && item.path.endsWith("/new.txt")) return item.path;
  }
  return undefined;
}

async function terminal(sandbox: Sandbox): Promise<boolean> {
  using shell = await sandbox.pty.create({ cols: 80, rows: 24, command: "sh" });
  const decoder = new TextDecoder();
  let text = "";
  await shell.write("echo $((6 * 7)); exit\n");
  for await (const bytes of shell) text += decoder.decode(bytes, { stream: true });
  return text.includes("42");
}

/** What everybody who goes through it sees. */
export const TOUR_SEEN: Readonly<Record<string, unknown>> = {
  run: "hello\n",
  stream: "1\n2\n3\n",
  input: "from a stream",
  file: [0, 1, 255],
  watch: "/home/user/new.txt",
  terminal: true,
  code: "42",
  missing: "file_not_found",
};
