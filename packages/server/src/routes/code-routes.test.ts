import type { CodeRecord } from "@caisson/contract";
import { expect, it } from "vitest";
import { startTestServer } from "../testing/test-server.ts";

it("says again and again that code which says nothing still runs, before its end and never behind it", async () => {
  await using server = await startTestServer({ limits: { aliveMs: 20 } });
  const { id } = (await (await server.call("POST", "/sandboxes", { json: {} })).json()) as { id: string };
  const response = await server.call("POST", `/sandboxes/${id}/code`, {
    json: { language: "shell", code: "sleep 0.5; echo done", stream: true },
  });
  const lines = (await response.text()).trimEnd().split("\n");
  const types = lines.map((line) => (JSON.parse(line) as CodeRecord).type);
  expect(types.filter((type) => type === "alive").length).toBeGreaterThanOrEqual(2);
  expect(types.filter((type) => type !== "alive")).toEqual(["start", "stdout", "result", "end"]);
  expect([types[0], types.at(-1)]).toEqual(["start", "end"]);
});
