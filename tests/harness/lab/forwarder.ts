import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { inNamespace } from "./lab-place.ts";

const PROGRAM = new URL("forwarder-process.ts", import.meta.url).pathname;

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What a forwarder is told. */
export type ForwarderOrder =
  /** Passes on what comes to a port of its namespace, or to the listening socket that comes with the message. */
  | { readonly type: "listen"; readonly port: number; readonly targets: readonly Target[] }
  /** From now on, what the far side sends comes late. */
  | { readonly type: "delay"; readonly ms: number }
  /** The answer to the next request that begins so is swallowed, and its connection broken. */
  | { readonly type: "swallow"; readonly request: string }
  /** Breaks every connection. */
  | { readonly type: "break" };

export type ForwarderAnswer = { readonly type: "listening" } | { readonly type: "swallowed"; readonly text: string };

/** A process in a namespace of the lab that passes TCP connections on, and can make them late or lose an answer. */
export class Forwarder {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static start(namespace: string): Forwarder {
    const [program, ...args] = [...inNamespace(namespace), process.execPath, PROGRAM];
    return new Forwarder(spawn(program, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] }));
  }

  /** Passes on what comes to a port in its namespace. */
  async listen(port: number, targets: readonly Target[]): Promise<void> {
    await this.#order({ type: "listen", port, targets });
  }

  /** A free port of the machine's loopback that leads through the namespace to the first target that takes the connection. */
  async door(targets: readonly Target[]): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const listening = this.#answer("listening");
    this.#child.send({ type: "listen", port, targets } satisfies ForwarderOrder, server);
    await listening;
    server.close();
    return port;
  }

  /** Makes everything that comes through, both ways, late by this many ms; 0 ends that. */
  delay(ms: number): void {
    if (this.#child.connected) this.#child.send({ type: "delay", ms } satisfies ForwarderOrder);
  }

  /** Swallows the answer to the next request whose head begins so; resolves when that happened. */
  async swallow(request: string): Promise<void> {
    const swallowed = this.#answer("swallowed");
    this.#child.send({ type: "swallow", request } satisfies ForwarderOrder);
    await swallowed;
  }

  /** Breaks every connection that is open. */
  break(): void {
    this.#child.send({ type: "break" } satisfies ForwarderOrder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }

  async #order(order: ForwarderOrder): Promise<void> {
    const listening = this.#answer("listening");
    this.#child.send(order);
    await listening;
  }

  #answer(type: ForwarderAnswer["type"]): Promise<void> {
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error("a forwarder ended"));
      const take = (answer: ForwarderAnswer): void => {
        if (answer.type !== type) return;
        this.#child.off("message", take);
        this.#child.off("exit", gone);
        resolve();
      };
      this.#child.on("message", take);
      this.#child.once("exit", gone);
    });
  }
}
