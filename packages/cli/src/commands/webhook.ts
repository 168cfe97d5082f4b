import type { WebhookDelivery } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { parseWhole } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { distance } from "../terminal/moment.ts";
import { printable } from "../terminal/printable.ts";
import { printTable } from "../terminal/table.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** Characters of an address or an answer that are shown. */
const WIDTH = 60;

/** `caisson webhook add|ls|rm|test|deliveries`. */
export function addWebhookCommands(program: Command, done: Done): void {
  const webhook = program.command("webhook").description("tell others of events");
  leaf(webhook, "add <url>", {
    description: "send events to an address from now on; prints the id and, only now, the secret that signs them",
    examples: ["caisson webhook add https://example.org/hooks --events 'sandbox.*,process.exited'"],
  })
    .option("--events <types>", "only these types, comma separated; sandbox.* is all of a kind")
    .option("--sandbox <sandbox>", "only events of this sandbox and of what is in it")
    .option("--inactive", "send nothing yet")
    .action(
      action(done, async (url: string, options: CommonOptions & { events?: string; sandbox?: string; inactive?: true }) => {
        const created = await connect(options, { admin: true }).webhooks.create({
          url,
          ...(options.events === undefined ? {} : { events: options.events.split(",") }),
          ...(options.sandbox === undefined ? {} : { sandbox_id: options.sandbox }),
          ...(options.inactive ? { active: false } : {}),
        });
        if (options.json) return printJson(created);
        print(created.id);
        print(created.secret);
      }),
    );
  leaf(webhook, "ls", { description: "list webhooks" }).action(
    action(done, async (options: CommonOptions) => {
      const webhooks = await connect(options, { admin: true }).webhooks.list();
      if (options.json) return printJson(webhooks);
      if (webhooks.length === 0) return print("No webhooks. Create one with: caisson webhook add");
      printTable(
        ["ID", "ACTIVE", "EVENTS", "SANDBOX", "AGE", "URL"],
        webhooks.map((one) => [
          one.id,
          one.active ? "yes" : "no",
          one.events.length === 0 ? "all" : one.events.join(","),
          one.sandbox_id ?? "all",
          distance(one.created_at),
          printable(one.url, WIDTH),
        ]),
      );
    }),
  );
  leaf(webhook, "rm <webhook...>", { description: "remove webhooks with their messages" }).action(
    action(done, async (ids: readonly string[], options: CommonOptions) => {
      const client = connect(options, { admin: true });
      for (const id of ids) await client.webhooks.delete(id);
      if (options.json) printJson(ids);
      else ids.forEach(print);
    }),
  );
  leaf(webhook, "test <webhook>", { description: "send a test message now; exit code 1 when it was not taken" }).action(
    action(done, async (id: string, options: CommonOptions) => {
      const delivery = await connect(options, { admin: true }).webhooks.test(id);
      if (options.json) printJson(delivery);
      else print(`${delivery.status}: ${answerOf(delivery)}`);
      return delivery.status === "delivered" ? 0 : 1;
    }),
  );
  leaf(webhook, "deliveries <webhook>", {
    description: "list the messages to a webhook, the newest first",
    examples: ["caisson webhook deliveries $ID --status failed"],
  })
    .option("-n, --lines <number>", "how many of the last messages", parseWhole, 50)
    .option("--status <status>", "only pending, delivered or failed ones")
    .action(
      action(done, async (id: string, options: CommonOptions & { lines: number; status?: WebhookDelivery["status"] }) => {
        const found: WebhookDelivery[] = [];
        const { status, lines } = options;
        if (lines > 0) {
          const query = { pageSize: Math.min(lines, 1000), ...(status === undefined ? {} : { status }) };
          for await (const one of connect(options, { admin: true }).webhooks.deliveries(id, query)) {
            found.push(one);
            if (found.length === lines) break;
          }
        }
        if (options.json) return printJson(found);
        printTable(
          ["ID", "TYPE", "STATUS", "ATTEMPTS", "AGE", "NEXT", "ANSWER"],
          found.map((one) => [
            one.id,
            one.type,
            one.status,
            String(one.attempts),
            distance(one.created_at),
            one.next_attempt_at === null ? "-" : distance(one.next_attempt_at),
            answerOf(one),
          ]),
        );
      }),
    );
}

function answerOf(delivery: WebhookDelivery): string {
  if (delivery.response_code !== null) return printable(`${delivery.response_code} ${delivery.response_body ?? ""}`.trim(), WIDTH);
  return printable(delivery.error ?? "-", WIDTH);
}
