import { VERSION } from "@caisson/contract";
import { Command } from "commander";
import { addAttachCommand } from "../commands/attach.ts";
import { addCodeCommand } from "../commands/code.ts";
import { addConfigCommands } from "../commands/config.ts";
import { addCpCommand } from "../commands/cp.ts";
import { addCreateCommand } from "../commands/create.ts";
import { addDoctorCommand } from "../commands/doctor.ts";
import { addEnvCommand } from "../commands/env.ts";
import { addEventsCommand } from "../commands/events.ts";
import { addExecCommand } from "../commands/exec.ts";
import { addExtendCommand } from "../commands/extend.ts";
import { addFilesCommands } from "../commands/files.ts";
import { addForwardCommand } from "../commands/forward.ts";
import { addGetCommand } from "../commands/get.ts";
import { addHistoryCommand } from "../commands/history.ts";
import { addImageCommands } from "../commands/image.ts";
import { addKillCommand } from "../commands/kill.ts";
import { addLogsCommand } from "../commands/logs.ts";
import { addLsCommand } from "../commands/ls.ts";
import { addPortsCommand } from "../commands/ports.ts";
import { addPsCommand } from "../commands/ps.ts";
import { addRmCommand } from "../commands/rm.ts";
import { addRunCommand } from "../commands/run.ts";
import { addDbCommand } from "../commands/db.ts";
import { addServeCommand } from "../commands/serve.ts";
import { addShellCommand } from "../commands/shell.ts";
import { addStatsCommand } from "../commands/stats.ts";
import { addUrlCommand } from "../commands/url.ts";
import { addVersionCommand } from "../commands/version.ts";
import { addWaitCommand } from "../commands/wait.ts";
import { addWebhookCommands } from "../commands/webhook.ts";
import { addWorkerCommand } from "../commands/worker.ts";
import { addWorkersCommands } from "../commands/workers.ts";
import type { Done } from "./leaf.ts";

/** The whole command line. */
export function createProgram(done: Done): Command {
  const program = new Command("caisson")
    .description("Isolated computers for AI agents, on machines you own.")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .enablePositionalOptions()
    .showHelpAfterError("(caisson --help shows what there is)")
    .exitOverride();
  for (const add of [
    addServeCommand,
    addDbCommand,
    addWorkerCommand,
    addRunCommand,
    addCreateCommand,
    addLsCommand,
    addGetCommand,
    addExecCommand,
    addCodeCommand,
    addShellCommand,
    addCpCommand,
    addFilesCommands,
    addLogsCommand,
    addStatsCommand,
    addEventsCommand,
    addHistoryCommand,
    addWebhookCommands,
    addPsCommand,
    addAttachCommand,
    addWaitCommand,
    addKillCommand,
    addPortsCommand,
    addUrlCommand,
    addForwardCommand,
    addExtendCommand,
    addRmCommand,
    addImageCommands,
    addWorkersCommands,
    addConfigCommands,
    addEnvCommand,
    addDoctorCommand,
    addVersionCommand,
  ]) {
    add(program, done);
  }
  return program;
}
