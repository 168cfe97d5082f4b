import type { Commands } from "./commands.ts";
import { gitAccess, gitEnv, withoutSecret, type GitAccess } from "./git-credentials.ts";
import { checkBranch, checkRevision } from "./git-names.ts";
import type { CloneOptions, GitAuthor, GitOptions, GitStatus, SyncOptions } from "./git-options.ts";
import { parseGitStatus } from "./git-status.ts";

/**
 * Git said no. Secrets are not in it.
 *
 * ```ts
 * try {
 *   await sandbox.git.status("/tmp");
 * } catch (error) {
 *   if (error instanceof GitError) console.log(error.exitCode, error.stderr);
 * }
 * ```
 */
export class GitError extends Error {
  /** Exit status of git; 127 when the sandbox has no git. */
  readonly exitCode: number;
  /** What it wrote to standard error. */
  readonly stderr: string;

  constructor(action: string, exitCode: number, stderr: string) {
    const why = exitCode === 127 ? "git is not installed in the sandbox" : (stderr.trim().split("\n").at(-1) ?? "");
    super(`git ${action} failed: ${why}`);
    this.name = "GitError";
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

/** Git in one sandbox, whose image must have it: `sandbox.git`. Passwords and tokens are never written down. */
export class Git {
  readonly #commands: Commands;

  /** Made by `Sandbox`. */
  constructor(commands: Commands) {
    this.#commands = commands;
  }

  /**
   * Clones a repository. A name and password in the address are used, and do not stay in the repository.
   *
   * ```ts no-run
   * const { GITHUB_TOKEN: token } = process.env;
   * await sandbox.git.clone("https://github.com/me/private.git", { path: "/home/user/work", depth: 1, token });
   * ```
   */
  async clone(url: string, options: CloneOptions): Promise<void> {
    const access = gitAccess(url, options);
    if (options.branch !== undefined) checkBranch(options.branch);
    const args = [
      ...(options.branch === undefined ? [] : [`--branch=${options.branch}`]),
      ...(options.depth === undefined ? [] : [`--depth=${options.depth}`]),
      "--",
      access.url,
      options.path,
    ];
    await this.#git("clone", args, options, access);
  }

  /**
   * The branch, how it stands to its upstream, and the files that changed.
   *
   * ```ts
   * await sandbox.commands.run("git init -b main work && touch work/new.txt", { check: true });
   * const { branch, files } = await sandbox.git.status("/home/user/work");
   * console.log(branch, files); // main, [{ path: "new.txt", staged: "?", unstaged: "?" }]
   * ```
   */
  async status(path: string, options: GitOptions = {}): Promise<GitStatus> {
    return parseGitStatus(await this.#in(path, "status", ["--porcelain=v2", "--branch", "-z"], options));
  }

  /**
   * Stages files, by default all.
   *
   * ```ts
   * await sandbox.commands.run("git init work && touch work/new.txt", { check: true });
   * await sandbox.git.add("/home/user/work", ["new.txt"]);
   * ```
   */
  async add(path: string, files: readonly string[] = ["."], options: GitOptions = {}): Promise<void> {
    await this.#in(path, "add", ["--all", "--", ...files], options);
  }

  /**
   * Commits what is staged and returns the commit's id.
   *
   * ```ts
   * await sandbox.commands.run("git init work && touch work/new.txt", { check: true });
   * await sandbox.git.add("/home/user/work");
   * const id = await sandbox.git.commit("/home/user/work", "Add a file", { author: { name: "Ada", email: "ada@example.org" } });
   * ```
   */
  async commit(path: string, message: string, options: GitOptions & { readonly author?: GitAuthor } = {}): Promise<string> {
    const { author } = options;
    const env: Record<string, string> =
      author === undefined
        ? {}
        : {
            GIT_AUTHOR_NAME: author.name,
            GIT_AUTHOR_EMAIL: author.email,
            GIT_COMMITTER_NAME: author.name,
            GIT_COMMITTER_EMAIL: author.email,
          };
    await this.#git("commit", ["--quiet", `--message=${message}`], options, undefined, path, env);
    return (await this.#in(path, "rev-parse", ["HEAD"], options)).trim();
  }

  /**
   * Pushes a branch and makes it follow the remote's.
   *
   * ```ts
   * await sandbox.commands.run("git init --bare -b main there.git && git clone there.git work", { check: true });
   * const author = { name: "Ada", email: "ada@example.org" };
   * await sandbox.files.write("/home/user/work/new.txt", "hello");
   * await sandbox.git.add("/home/user/work");
   * await sandbox.git.commit("/home/user/work", "Add a file", { author });
   * await sandbox.git.push("/home/user/work");
   * ```
   */
  async push(path: string, options: SyncOptions = {}): Promise<void> {
    const { remote = "origin", branch = "HEAD" } = options;
    checkBranch(branch);
    const access = await this.#accessOf(path, remote, options, "--push");
    await this.#git("push", ["--set-upstream", "--", remote, branch], options, access, path);
  }

  /**
   * Fetches a branch and moves the one that is checked out forward to it; fails when both have commits of their own.
   *
   * ```ts no-run
   * await sandbox.git.pull("/home/user/work", { token: process.env.GITHUB_TOKEN });
   * ```
   */
  async pull(path: string, options: SyncOptions = {}): Promise<void> {
    const { remote = "origin", branch } = options;
    if (branch !== undefined) checkBranch(branch);
    const access = await this.#accessOf(path, remote, options);
    await this.#git("pull", ["--ff-only", "--", remote, ...(branch === undefined ? [] : [branch])], options, access, path);
  }

  /**
   * The local branches.
   *
   * ```ts
   * await sandbox.commands.run("git init -b main work", { check: true });
   * const names = await sandbox.git.branches("/home/user/work");
   * ```
   */
  async branches(path: string, options: GitOptions = {}): Promise<readonly string[]> {
    const text = await this.#in(path, "for-each-ref", ["--format=%(refname:short)", "refs/heads"], options);
    return text.split("\n").filter((name) => name !== "");
  }

  /**
   * Checks a branch or commit out; with `create` it makes the branch.
   *
   * ```ts
   * await sandbox.commands.run("git init -b main work", { check: true });
   * await sandbox.git.checkout("/home/user/work", "topic", { create: true });
   * ```
   */
  async checkout(path: string, name: string, options: GitOptions & { readonly create?: boolean } = {}): Promise<void> {
    checkRevision(name);
    const args = options.create === true ? ["-b", name, "--"] : [name, "--"];
    await this.#in(path, "checkout", ["--quiet", ...args], options);
  }

  #in(path: string, action: string, args: readonly string[], options: GitOptions): Promise<string> {
    return this.#git(action, args, options, undefined, path);
  }

  /** The secret for a remote goes to the server of its address only: of the one that is pushed to, where it has two. */
  async #accessOf(path: string, remote: string, options: SyncOptions, ...which: readonly "--push"[]): Promise<GitAccess | undefined> {
    if (options.password === undefined && options.token === undefined) return undefined;
    return gitAccess((await this.#in(path, "remote", ["get-url", ...which, "--", remote], options)).trim(), options);
  }

  async #git(
    action: string,
    args: readonly string[],
    options: GitOptions,
    access: GitAccess | undefined,
    path?: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const { signal, timeoutMs, timeout, user } = options;
    const command = ["git", ...(path === undefined ? [] : ["-C", path]), action, ...args];
    const result = await this.#commands.run(command, { signal, timeoutMs, timeout, user, env: { ...gitEnv(access), ...env } });
    if (result.exitCode !== 0) throw new GitError(action, result.exitCode, withoutSecret(result.stderr, access?.password));
    return result.stdout;
  }
}
