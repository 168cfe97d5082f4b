/** How the page stands; the dot and the line beside it show it. */
export type PageState = "connecting" | "connected" | "reconnecting" | "locked" | "ended" | "gone";

const STATUS: Readonly<Record<PageState, string>> = {
  connecting: "connecting",
  connected: "connected",
  reconnecting: "reconnecting",
  locked: "locked",
  ended: "ended",
  gone: "gone",
};

/** The parts of the page around the terminal. */
export class View {
  readonly screen: HTMLElement = part("screen");
  readonly #program = part("program");
  readonly #status = part("status");
  readonly #notice = part("notice");
  readonly #noticeText = part("notice-text");
  readonly #again = part<HTMLButtonElement>("again");
  readonly #dialog = part<HTMLDialogElement>("unlock");
  readonly #form = part<HTMLFormElement>("unlock-form");
  readonly #key = part<HTMLInputElement>("key");
  readonly #mistake = part("mistake");

  constructor(sandboxId: string) {
    part("sandbox").textContent = sandboxId;
    part("command").textContent = `caisson shell --web ${sandboxId}`;
    document.title = `${sandboxId} · terminal`;
    // Only an answer ends the question.
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  show(state: PageState, why: string = ""): void {
    document.body.dataset.state = state;
    this.#status.textContent = why === "" ? STATUS[state] : `${STATUS[state]}: ${why}`;
  }

  /** What the program in the terminal calls itself. */
  set program(title: string) {
    this.#program.textContent = title;
  }

  /** Says something below the terminal, until it is called without. */
  notice(text: string | undefined): void {
    this.#notice.hidden = text === undefined;
    this.#noticeText.textContent = text ?? "";
    this.#again.hidden = true;
  }

  /** Says something and offers to go on; resolves when that is wanted. */
  async offer(text: string, action: string): Promise<void> {
    this.notice(text);
    this.#again.textContent = action;
    this.#again.hidden = false;
    this.#again.focus();
    await new Promise((resolve) => this.#again.addEventListener("click", resolve, { once: true }));
    this.notice(undefined);
  }

  /** Asks for an API key; `mistake` says what was wrong with the last. */
  async askForKey(mistake: string): Promise<string> {
    this.#mistake.textContent = mistake;
    this.#key.value = "";
    this.#dialog.showModal();
    this.#key.focus();
    for (;;) {
      await new Promise<void>((resolve) => {
        this.#form.addEventListener(
          "submit",
          (event) => {
            event.preventDefault();
            resolve();
          },
          { once: true },
        );
      });
      const key = this.#key.value.trim();
      if (key === "") continue;
      this.#dialog.close();
      this.#key.value = "";
      return key;
    }
  }
}

function part<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page lacks #${id}`);
  return found as T;
}
