const EXITS = { SIGHUP: 129, SIGINT: 130, SIGPIPE: 141, SIGTERM: 143 } as const;

/** What ends a command early. */
type Cause = keyof typeof EXITS;

/** The reason of work that was ended early, with the exit code of a program that the signal ended. */
export class Interrupted extends Error {
  readonly exit: number;

  constructor(cause: Cause) {
    super(`interrupted by ${cause}`);
    this.exit = EXITS[cause];
  }
}

/** The exit code when something thrown is an interruption; else it is thrown on. */
export function exitOfInterruption(thrown: unknown): number {
  if (thrown instanceof Interrupted) return thrown.exit;
  if ((thrown as NodeJS.ErrnoException).code === "EPIPE") return EXITS.SIGPIPE;
  throw thrown;
}

/**
 * A signal for work that ends early on Ctrl-C, or when the reader of our output has gone. The process lives on until its
 * clean-up is done, or until a second Ctrl-C.
 */
export class Interrupt implements Disposable {
  readonly #controller = new AbortController();
  readonly #cleanup: (() => void)[] = [];

  constructor() {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      const handler = (): void => {
        if (this.#controller.signal.aborted) process.exit(EXITS[name]);
        this.#controller.abort(new Interrupted(name));
      };
      process.on(name, handler);
      this.#cleanup.push(() => process.off(name, handler));
    }
    const broken = (error: NodeJS.ErrnoException): void => {
      if (error.code === "EPIPE") this.#controller.abort(new Interrupted("SIGPIPE"));
    };
    process.stdout.on("error", broken);
    this.#cleanup.push(() => process.stdout.off("error", broken));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const clean of this.#cleanup) clean();
  }
}
