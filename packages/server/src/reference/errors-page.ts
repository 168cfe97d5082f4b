import { ERROR_TABLE, type ErrorEntry } from "@caisson/contract";

/** The page of error codes, from their table. */
export function errorsPage(): string {
  const entries = Object.entries<ErrorEntry>(ERROR_TABLE).sort(([, a], [, b]) => a.status - b.status);
  return `# Errors

<!-- Made by scripts/generate-docs.mjs from the error table; edit that. -->

Every error has one of these codes, everywhere: in the HTTP answer, in the SDK's error, in the CLI's message. Decide by the code; messages are for people and may change.

Over HTTP an error is a problem document (RFC 9457, \`application/problem+json\`) with \`code\`, \`status\`, \`title\`, \`message\`, \`remedy\`, \`retryable\`, where there are any \`errors\` (the fields that were refused, by \`path\`) and \`detail\` (facts for programs), and \`request_id\`. Answers with 429 or 503 carry \`Retry-After\`. The exit code is the CLI's.

| code | status | retry helps | exit code | meaning | remedy |
| --- | --- | --- | --- | --- | --- |
${entries.map(([code, entry]) => `| \`${code}\` | ${entry.status} | ${entry.retryable ? "yes" : "no"} | ${entry.exit} | ${cell(entry.title)} | ${cell(entry.remedy)} |`).join("\n")}
`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
