import type { CallOptions } from "./call-options.ts";

/** Options of every git call. */
export interface GitOptions extends CallOptions {
  /** As whom in the sandbox. @default the sandbox's user */
  readonly user?: string | undefined;
  /** Time after which git is killed, such as `5m`. @default the server's */
  readonly timeout?: string | undefined;
}

/**
 * Who one is for a remote. It is given to the one git process in its environment and written nowhere. `push` and `pull` give
 * it to the server that the repository names, which whoever works in the sandbox may have changed: use a token that opens
 * no more than it must.
 */
export interface GitCredentials {
  /** @default git, which is what services take beside a token */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** The same as `password`. */
  readonly token?: string | undefined;
}

/** Options of `git.clone`. */
export interface CloneOptions extends GitOptions, GitCredentials {
  /** Folder to make, absolute. */
  readonly path: string;
  /** Branch or tag. @default the remote's */
  readonly branch?: string | undefined;
  /** Commits of history to fetch. @default all */
  readonly depth?: number | undefined;
}

/** Options of `git.push` and `git.pull`. */
export interface SyncOptions extends GitOptions, GitCredentials {
  /** @default origin */
  readonly remote?: string | undefined;
  /** @default the branch that is checked out */
  readonly branch?: string | undefined;
}

/** Who made a commit. */
export interface GitAuthor {
  readonly name: string;
  readonly email: string;
}

/** One changed file of a working tree. */
export interface GitFileStatus {
  readonly path: string;
  /** Change that is staged, as one letter of git: M, A, D, R, C, T, U; `.` for none, `?` when it is not tracked. */
  readonly staged: string;
  /** Change that is not staged. */
  readonly unstaged: string;
  /** Old path of what was renamed or copied. */
  readonly from?: string;
}

/** How a working tree is. */
export interface GitStatus {
  /** Null when no branch is checked out. */
  readonly branch: string | null;
  /** Null before the first commit. */
  readonly commit: string | null;
  readonly upstream: string | null;
  /** Commits that the upstream lacks. */
  readonly ahead: number;
  /** Commits that only the upstream has. */
  readonly behind: number;
  /** Changed and untracked files. */
  readonly files: readonly GitFileStatus[];
}
