import { mkdirSync, mkdtempSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { removeFolder } from "./removal.ts";
import { findStage } from "./stage.ts";

describe("the folder that the stage covers", () => {
  const folder = mkdtempSync(join(tmpdir(), "caisson-stage-"));
  afterAll(() => removeFolder(folder));

  it("is a true folder that holds nothing in use, seen through links", () => {
    for (const name of ["a", "ab", "b"]) mkdirSync(join(folder, name));
    mkdirSync(join(folder, "a", "agent"));
    symlinkSync("a/agent", join(folder, "link"));
    symlinkSync("b", join(folder, "c"));
    const candidates = ["none", "c", "a", "ab", "b"].map((name) => join(folder, name));
    expect(findStage([join(folder, "link")], candidates)).toBe(join(folder, "ab"));
    expect(findStage([folder], candidates)).toBe(join(folder, "a"));
    expect(() => findStage([folder], [join(folder, "c")])).toThrow("stage");
  });
});
