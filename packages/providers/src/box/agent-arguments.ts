import type { BoxSpec } from "../contract/provider.ts";
import { INSIDE } from "./technology.ts";

/** Name of the socket in a folder shared with the box. */
export const SOCKET_NAME = "agent.sock";

/** Where the agent listens: on the socket handed down to it, or on one it makes. */
export type AgentListen = "inherited" | "bound";

/** The command line of the agent inside the box. */
export function agentArguments(spec: BoxSpec, listen: AgentListen, filter: "seccomp" | "none"): string[] {
  const words = [INSIDE.agent, "guest"];
  if (listen === "inherited") words.push("--listen-fd", "3");
  else words.push("--listen", `${INSIDE.socketFolder}/${SOCKET_NAME}`);
  if (spec.user !== undefined) words.push("--user", spec.user);
  if (spec.workdir !== undefined) words.push("--cwd", spec.workdir);
  for (const [name, value] of Object.entries(spec.env)) words.push("--env", `${name}=${value}`);
  if (filter === "seccomp") words.push("--seccomp");
  return words;
}

/** What the agent may do as root of the box's user namespace: change owners and users, kill, and open low ports. */
export const AGENT_CAPABILITIES: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
];
