/** Which sandboxes use which content (a digest, or a skeleton's key). Rebuilt from the records at every start. */
export class ImageUsers {
  readonly #byContent = new Map<string, Set<string>>();
  readonly #bySandbox = new Map<string, string>();

  /** Notes that a sandbox uses a content; a sandbox uses one at a time. */
  hold(sandboxId: string, content: string): void {
    this.release(sandboxId);
    this.#bySandbox.set(sandboxId, content);
    const users = this.#byContent.get(content) ?? new Set();
    this.#byContent.set(content, users.add(sandboxId));
  }

  /** Notes that a sandbox uses none any more; returns the one it used. */
  release(sandboxId: string): string | undefined {
    const content = this.#bySandbox.get(sandboxId);
    if (content === undefined) return undefined;
    this.#bySandbox.delete(sandboxId);
    const users = this.#byContent.get(content);
    users?.delete(sandboxId);
    if (users?.size === 0) this.#byContent.delete(content);
    return content;
  }

  count(content: string): number {
    return this.#byContent.get(content)?.size ?? 0;
  }
}
