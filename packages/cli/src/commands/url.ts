import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { parsePort } from "../options/parse-port.ts";
import { usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

interface UrlOptions extends CommonOptions {
  readonly ttl?: string;
  readonly public?: true;
  readonly private?: true;
}

/** `caisson url <id> <port>`: a link that opens a port in a browser. */
export function addUrlCommand(program: Command, done: Done): void {
  leaf(program, "url <sandbox> <port>", {
    description: "print a link that opens a port of a sandbox in a browser",
    examples: ["caisson url $ID 5173", "caisson url $ID 5173 --ttl 8h", "caisson url $ID 5173 --public      # for anyone, until --private"],
  })
    .option("--ttl <duration>", "how long the link opens it, at most 24h (default: 1h)")
    .option("--public", "make the port public instead: no key and no token is needed")
    .option("--private", "make the port private again, and print a link")
    .action(action(done, url));
}

async function url(id: string, text: string, options: UrlOptions): Promise<void> {
  const port = parsePort(text);
  if (options.public && (options.ttl !== undefined || options.private)) {
    throw usageError("--public goes with neither --ttl nor --private.", "A public port is open until it is made private again.");
  }
  const sandbox = await Sandbox.connect(id, { client: connect(options) });
  if (options.private) await sandbox.ports.unpublish(port);
  if (options.public) {
    const published = await sandbox.ports.publish(port);
    return options.json ? printJson(published) : print(published.url);
  }
  const link = await sandbox.ports.token(port, { ttl: options.ttl });
  return options.json ? printJson(link) : print(link.url);
}
