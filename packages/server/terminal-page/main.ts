import { Caisson, CaissonApiError, Sandbox, type Terminal, type TerminalEvent, type TerminalOptions } from "@caisson/sdk";
import { CredentialStore, type Credentials } from "./credentials.ts";
import { Screen } from "./screen.ts";
import { ShellSession } from "./shell-session.ts";
import { View } from "./view.ts";

/** Pause before a server that does not answer is asked again, in ms. */
const RETRY_MS = 1_000;

const sandboxId = decodeURIComponent(location.pathname.split("/").at(-1) ?? "");
const view = new View(sandboxId);
const store = new CredentialStore(sandboxId);
let terminal: Terminal | undefined;
const screen = new Screen(view.screen, {
  // What is typed after the end, or into a connection that is given up, is for nobody.
  typed: (text) => void terminal?.write(text).catch(() => undefined),
  resized: (size) => terminal?.resize(size),
  titled: (title) => {
    view.program = title;
  },
});

const options: TerminalOptions = {
  onData: (bytes) => screen.write(bytes),
  onEvent: (event) => report(event),
  reconnectMs: Number.POSITIVE_INFINITY,
};

function report(event: TerminalEvent): void {
  if (event.type === "connected") view.show("connected");
  else if (event.type === "reconnecting") view.show("reconnecting");
  else if (event.type === "stdin_closed") view.notice(`Nothing more can be typed: ${event.message}`);
}

/** Runs the page from what opens the sandbox to the end of the shell; returns when there is nothing more to do. */
async function run(): Promise<void> {
  let credentials = store.find();
  let next: "open" | "create" = "open";
  let mistake = "";
  for (;;) {
    try {
      credentials ??= await unlock(mistake);
      view.show("connecting");
      const sandbox = await Sandbox.connect(sandboxId, { client: new Caisson({ url: location.origin, ...credentials }) });
      if (sandbox.info.ended_at !== null) return gone("The sandbox has ended, and all that was in it is gone.");
      screen.clear();
      screen.focus();
      terminal = await new ShellSession(sandbox)[next](options, screen.size);
      next = "open";
      const { exitCode, signal } = await terminal.wait();
      view.show("ended");
      await view.offer(
        signal === null ? `The shell ended with status ${exitCode}.` : `The shell was ended by the signal ${signal}.`,
        "New shell",
      );
      next = "create";
    } catch (error) {
      terminal?.disconnect();
      if (!(error instanceof CaissonApiError)) throw error;
      if (error.code === "sandbox_not_found") return gone("There is no such sandbox.");
      if (error.code === "sandbox_destroyed") return gone("The sandbox has ended, and all that was in it is gone.");
      if (error.status === 401 || error.status === 403) {
        mistake =
          credentials === undefined
            ? ""
            : "token" in credentials
              ? "The token of the address does not open this any more."
              : "This key is not valid.";
        store.forget();
        credentials = undefined;
      } else if (error.retryable) {
        view.show("reconnecting");
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      } else {
        view.show("ended");
        await view.offer(error.message, "Try again");
      }
    }
  }
}

async function unlock(mistake: string): Promise<Credentials> {
  view.show("locked");
  return store.keep({ apiKey: await view.askForKey(mistake) });
}

function gone(why: string): void {
  view.show("gone");
  view.notice(why);
}

run().catch((error: unknown) => {
  view.show("gone");
  view.notice(`The page failed: ${String(error)}`);
});
