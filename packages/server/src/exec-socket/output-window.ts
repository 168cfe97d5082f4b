import { CaissonError } from "@caisson/contract";

/** How much output may be under way before the client acknowledges some. */
export class OutputWindow {
  readonly #size: number;
  #sent = 0;
  #lifted = false;
  #wake: (() => void) | undefined;

  /** `size` in bytes; undefined for no bound, where nothing is acknowledged. */
  constructor(size: number | undefined) {
    this.#size = size ?? Number.POSITIVE_INFINITY;
  }

  /** Takes room for up to `wanted` bytes and returns how many; waits while there is none. One call at a time. */
  async take(wanted: number): Promise<number> {
    while (!this.#lifted && this.#sent >= this.#size)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    const taken = this.#lifted ? wanted : Math.min(wanted, this.#size - this.#sent);
    this.#sent += taken;
    return taken;
  }

  /** The client has taken bytes. Throws `invalid_request` for more than were sent. */
  ack(bytes: number): void {
    if (this.#size === Number.POSITIVE_INFINITY)
      throw new CaissonError("invalid_request", "ack needs a window, which the first message asks for.");
    if (bytes > this.#sent) throw new CaissonError("invalid_request", `ack of ${bytes} bytes where ${this.#sent} are not acknowledged.`);
    this.#sent -= bytes;
    this.#wakeUp();
  }

  /**
   * Whether the bound holds. It does not while the client is not read: its acknowledgements may wait behind input that the
   * process takes only when its output goes on.
   */
  set lifted(lifted: boolean) {
    this.#lifted = lifted;
    this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
