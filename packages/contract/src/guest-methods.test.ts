import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { GUEST_METHODS, SCOPES, WORKER_METHODS } from "./guest-methods.ts";

const project = new URL("../../../", import.meta.url);

it("the table, the protocol page and the agent name the same guest methods", () => {
  const page = readFileSync(new URL("docs/protocol.md", project), "utf8");
  const section = page.slice(page.indexOf("## Guest methods"), page.indexOf("**process**"));
  const documented = [...section.matchAll(/^\| ([A-Z]\w+) \|/gm)].map((match) => match[1]);
  expect(new Set(documented)).toEqual(new Set(Object.keys(GUEST_METHODS)));
  const agent = readFileSync(new URL("agent/src/guest/methods.rs", project), "utf8");
  expect(Object.keys(GUEST_METHODS).filter((method) => !agent.includes(`"${method}"`))).toEqual([]);
});

it("every method needs a scope that exists", () => {
  for (const scope of [...Object.values(GUEST_METHODS), ...Object.values(WORKER_METHODS)]) expect(SCOPES).toContain(scope);
});
