import type { GitFileStatus, GitStatus } from "./git-options.ts";

/** Reads what `git status --porcelain=v2 --branch -z` writes. */
export function parseGitStatus(text: string): GitStatus {
  const headers = new Map<string, string>();
  const files: GitFileStatus[] = [];
  const records = text.split("\0");
  for (let at = 0; at < records.length; at += 1) {
    const record = records[at] ?? "";
    const kind = record[0];
    if (kind === "#") {
      const [, name = "", value = ""] = /^# (\S+) (.*)$/s.exec(record) ?? [];
      headers.set(name, value);
    } else if (kind === "?") files.push({ path: record.slice(2), staged: "?", unstaged: "?" });
    else if (kind === "1" || kind === "2" || kind === "u") {
      // Fields before the path, by kind; the path itself may hold spaces.
      const fields = record.split(" ");
      const path = fields.slice({ 1: 8, 2: 9, u: 10 }[kind]).join(" ");
      const [staged = ".", unstaged = "."] = fields[1] ?? "";
      if (kind === "2") at += 1;
      files.push({ path, staged, unstaged, ...(kind === "2" ? { from: records[at] ?? "" } : {}) });
    }
  }
  const head = headers.get("branch.head");
  const commit = headers.get("branch.oid");
  const [, ahead = "0", behind = "0"] = /^\+(\d+) -(\d+)$/.exec(headers.get("branch.ab") ?? "") ?? [];
  return {
    branch: head === undefined || head === "(detached)" ? null : head,
    commit: commit === undefined || commit === "(initial)" ? null : commit,
    upstream: headers.get("branch.upstream") ?? null,
    ahead: Number(ahead),
    behind: Number(behind),
    files,
  };
}
