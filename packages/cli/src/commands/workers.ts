import type { Worker } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { joinLine } from "../client/join-line.ts";
import { removeWorker } from "../client/remove-worker.ts";
import { checkDuration } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { distance } from "../terminal/moment.ts";
import { printable } from "../terminal/printable.ts";
import { printTable } from "../terminal/table.ts";
import { describeWorker, loadOf, publicUrlTrouble, stateOf } from "../terminal/worker-view.ts";
import { print, printJson } from "../terminal/write-out.ts";

interface LsOptions extends CommonOptions {
  readonly all?: true;
  readonly quiet?: true;
  readonly state?: string;
}

interface AddOptions extends CommonOptions {
  readonly tenant?: string;
  readonly tokenTtl?: string;
}

/** `caisson workers ls|add|get|drain|undrain|revoke|rotate-keys|rm`: machines that run sandboxes. */
export function addWorkersCommands(program: Command, done: Done): void {
  const workers = program.command("workers").description("machines that run sandboxes");
  leaf(workers, "ls", { description: "list workers: how they are, and what they were promised of what they have" })
    .option("-a, --all", "also those that were removed")
    .option("-q, --quiet", "only ids")
    .option("--state <states>", "only these states, comma separated")
    .action(action(done, ls));
  leaf(workers, "add [worker]", {
    description:
      "invite a machine: prints a token, and the command there that asks for it\nThe token is shown only now, and works once. It alone is on standard output. Without a name the worker gets that of its machine.",
    examples: [
      "caisson workers add",
      "caisson workers add worker-a --tenant team-a --token-ttl 10m",
      "caisson workers add worker-a | ssh worker-a caisson worker join https://caisson.example.org --token-file - --no-start",
    ],
  })
    .option("--tenant <tenant>", "takes only sandboxes of this tenant")
    .option("--token-ttl <duration>", "how long the token can be used (default: 1h, at most 24h)", checkDuration)
    .action(action(done, add));
  leaf(workers, "get <worker>", { description: "show all that is known of a worker" }).action(
    action(done, async (id: string, options: CommonOptions) => {
      const worker = await connect(options).workers.get(id);
      if (options.json) return printJson(worker);
      for (const [name, value] of describeWorker(worker)) print(printable(`${`${name}:`.padEnd(15)}${value}`));
    }),
  );
  leaf(workers, "drain <worker...>", { description: "give workers no new sandboxes; those they have stay" }).action(
    action(done, (ids: readonly string[], options: CommonOptions) =>
      forEach(ids, options, async (client, id) => told(await client.workers.drain(id))),
    ),
  );
  leaf(workers, "undrain <worker...>", { description: "give workers sandboxes again" }).action(
    action(done, (ids: readonly string[], options: CommonOptions) =>
      forEach(ids, options, async (client, id) => told(await client.workers.undrain(id))),
    ),
  );
  leaf(workers, "revoke <worker...>", { description: "refuse the credentials of workers from now on; they must join again" }).action(
    action(done, (ids: readonly string[], options: CommonOptions) =>
      forEach(ids, options, async (client, id) => revoked(await client.workers.revoke(id))),
    ),
  );
  leaf(workers, "rotate-keys", {
    description:
      "replace the keys that sign tokens of workers, access to them, and links\nThat happens every 90 days by itself. After an hour the new key signs; what the ones before signed is good for 8 days more.",
    examples: ["caisson workers rotate-keys", "caisson workers rotate-keys --now"],
  })
    .option("--now", "the database leaked: what was signed is void at once, and workers renew by themselves")
    .action(action(done, rotateKeys));
  leaf(workers, "rm <worker...>", {
    description: "remove workers; one that has sandboxes is kept, and they are listed",
    examples: ["caisson workers drain worker-a", "caisson workers rm worker-a", "caisson workers rm --force worker-a"],
  })
    .option("--force", "destroy its sandboxes first")
    .action(
      action(done, (ids: readonly string[], options: CommonOptions & { readonly force?: true }) =>
        forEach(ids, options, async (client, id) => told(await removeWorker(client, id, options))),
      ),
    );
}

async function ls(options: LsOptions): Promise<void> {
  const every = ["pending", "online", "draining", "unreachable", "removed"] as const;
  const state = options.state === undefined ? (options.all ? every : undefined) : (options.state.split(",") as Worker["state"][]);
  const found: Worker[] = [];
  for await (const worker of connect(options).workers.list({ state })) found.push(worker);
  if (options.json) return printJson(found);
  if (options.quiet) return found.forEach((worker) => print(worker.id));
  if (found.length === 0) return print("No workers. Add one with: caisson workers add");
  printTable(
    ["ID", "STATE", "SANDBOXES", "CPU", "MEMORY", "DISK", "PROVIDER", "VERSION", "HEARD"],
    found.map((worker) => [
      worker.id,
      stateOf(worker),
      loadOf(worker, "sandboxes"),
      loadOf(worker, "vcpus"),
      loadOf(worker, "memory_mb"),
      loadOf(worker, "disk_mb"),
      worker.providers.find((provider) => provider.default === true)?.name ?? "-",
      worker.version ?? "-",
      worker.last_heartbeat_at === null ? "never" : `${distance(worker.last_heartbeat_at)} ago`,
    ]),
  );
  for (const worker of found) {
    const trouble = publicUrlTrouble(worker);
    if (trouble !== undefined) process.stderr.write(`${printable(`${worker.id}, ${worker.public_url}: ${trouble}`)}\n`);
  }
}

async function add(id: string | undefined, options: AddOptions): Promise<void> {
  const client = connect(options, { admin: true });
  const invitation = await client.workers.invite({
    ...(id === undefined ? {} : { id }),
    ...(options.tenant === undefined ? {} : { tenant_id: options.tenant }),
    ...(options.tokenTtl === undefined ? {} : { token_ttl: options.tokenTtl }),
  });
  const { command, warning } = joinLine(client.url, options);
  if (options.json) return printJson({ ...invitation, command });
  process.stderr.write(
    `Type this on the new machine, and the token when it asks, within ${distance(invitation.expires_at)}:\n  ${command}\n`,
  );
  if (warning !== undefined) process.stderr.write(`${warning}\n`);
  print(invitation.token);
}

async function rotateKeys(options: CommonOptions & { readonly now?: true }): Promise<void> {
  const client = connect(options, { admin: true });
  const rotated = await client.workers.rotateKeys(options.now ? { immediately: true } : {});
  if (options.json) return printJson(rotated);
  if (!options.now) {
    print(`The key ${printable(rotated.key_id)} signs in ${distance(rotated.signs_at)}.`);
    return print(`What the keys before it signed is good for ${distance(rotated.others_until)} more; nothing else changes.`);
  }
  print(`The key ${printable(rotated.key_id)} signs now. Void here, and within a minute everywhere:`);
  print("  tokens and certificates of workers: they get others by themselves, and calls under way on them end");
  print("  links that were given out: terminals, signed URLs, previews, and access to sandboxes at workers");
  print("A worker that is not connected takes what the old keys signed until it is heard again.");
  print("Not changed: API keys, secrets of webhooks, variables of sandboxes. docs/security.md says what to do about them.");
}

/** Does one thing to each; with `--json` the answers are one list. */
async function forEach(
  ids: readonly string[],
  options: CommonOptions,
  act: (client: ReturnType<typeof connect>, id: string) => Promise<Told>,
): Promise<void> {
  const client = connect(options, { admin: true });
  const answers: Worker[] = [];
  for (const id of ids) {
    const { worker, line } = await act(client, id);
    answers.push(worker);
    if (!options.json) print(line);
  }
  if (options.json) printJson(answers);
}

interface Told {
  readonly worker: Worker;
  readonly line: string;
}

function revoked(worker: Worker): Told {
  return { worker, line: printable(`${worker.id} revoked; to let it join again: caisson workers add ${worker.id}`) };
}

function told(worker: Worker): Told {
  return { worker, line: printable(`${worker.id} ${stateOf(worker)}`) };
}
