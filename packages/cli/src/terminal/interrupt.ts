/** The exit code of a program that a signal ended. */
export class Interrupted extends Error {
  readonly exit: number;

  constructor(signal: "SIGINT" | "SIGTERM" | "SIGHUP") {
    super(`interrupted by ${signal}`);
    this.exit = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }[signal];
  }
}

/** A signal for work that ends early on Ctrl-C; the process lives on until its clean-up is done, or a second Ctrl-C. */
export class Interrupt implements Disposable {
  readonly #controller = new AbortController();
  readonly #handlers = new Map<NodeJS.Signals, () => void>();

  constructor() {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      const handler = (): void => {
        if (this.#controller.signal.aborted) process.exit(new Interrupted(name).exit);
        this.#controller.abort(new Interrupted(name));
      };
      this.#handlers.set(name, handler);
      process.on(name, handler);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }
}
