import { loadConfig } from "../config/load-config.ts";
import { resolveDataDir } from "../config/data-dir.ts";
import type { CommonOptions } from "../program/leaf.ts";
import { readServerFile } from "./local-server.ts";

/** What to type on a machine that becomes a worker. */
export interface JoinLine {
  /** Asks for the token, which is not in it: other users of the machine see what is typed. */
  readonly command: string;
  /** What keeps the command from working elsewhere; absent when nothing is known to. */
  readonly warning?: string;
}

/** The command that an invitation is for. Of the server on this machine it names the address that others reach it at. */
export function joinLine(url: string, options: CommonOptions): JoinLine {
  const config = loadConfig({ path: options.config, env: process.env });
  const local = readServerFile(resolveDataDir(config))?.url === url;
  const address = (local ? config.server.advertise_url : undefined) ?? url;
  const command = `caisson worker join ${address.replace(/\/$/, "")} --token-file -`;
  if (!isLoopback(new URL(address).hostname)) return { command };
  return {
    command,
    warning: local
      ? "The address is one of this machine only. For another machine let the server listen where that reaches it (server.host), and name the address in server.advertise_url."
      : "The address is one of this machine only: put the one that the other machine reaches the server at in its place.",
  };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.");
}
