import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { CONTROL_METHODS, GUEST_METHODS, GUEST_ROUTES, SCOPES, WORKER_METHODS } from "./guest-methods.ts";

const project = new URL("../../../", import.meta.url);

it("the table, the protocol page and the agent name the same guest methods", () => {
  const page = readFileSync(new URL("docs/protocol.md", project), "utf8");
  const section = page.slice(page.indexOf("## Guest methods"), page.indexOf("**process**"));
  const documented = [...section.matchAll(/^\| ([A-Z]\w+) \|/gm)].map((match) => match[1]);
  expect(new Set(documented)).toEqual(new Set(Object.keys(GUEST_METHODS)));
  const agent = readFileSync(new URL("agent/src/guest/methods.rs", project), "utf8");
  expect(Object.keys(GUEST_METHODS).filter((method) => !agent.includes(`"${method}"`))).toEqual([]);
});

it("the tables and the protocol page say the same of the methods of workers and control planes", () => {
  const page = readFileSync(new URL("docs/protocol.md", project), "utf8");
  const section = page.slice(page.indexOf("## Worker methods"), page.indexOf("## Guest methods"));
  const rows = [...section.matchAll(/^\| ([a-z]+\.[a-z_]+) \| ([\w:]+) \|/gm)].map(([, method, second]) => [method, second]);
  expect(Object.fromEntries(rows)).toEqual({ ...WORKER_METHODS, ...CONTROL_METHODS, ...GUEST_ROUTES });
});

it("every guest method is passed on by exactly one method of a worker", () => {
  expect(Object.values(GUEST_ROUTES).toSorted()).toEqual(Object.keys(GUEST_METHODS).toSorted());
});

it("every method needs a scope that exists", () => {
  for (const scope of [...Object.values(GUEST_METHODS), ...Object.values(WORKER_METHODS), ...Object.values(CONTROL_METHODS)])
    expect(SCOPES).toContain(scope);
});
