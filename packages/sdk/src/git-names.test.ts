import { expect, test } from "vitest";
import { checkBranch, checkRevision } from "./git-names.ts";

const refusal = { code: "invalid_request", remedy: expect.any(String) };

test("names that are options are refused, by which files could be lost or programs run", () => {
  for (const name of ["-f", "--force", "--detach", "--orphan=x", "--", ""]) {
    expect(() => checkRevision(name)).toThrow(expect.objectContaining(refusal));
    expect(() => checkBranch(name)).toThrow(expect.objectContaining(refusal));
  }
});

test("branches are one branch: nothing is deleted, forced or mirrored", () => {
  for (const name of [":main", "+main", "main:other", "refs/heads/*:refs/heads/*", "*"])
    expect(() => checkBranch(name)).toThrow(expect.objectContaining(refusal));
});

test("all other names are git's own business", () => {
  for (const name of ["main", "feature/x-y", "v1.0", "HEAD", "a -b", "@{-1}"]) expect(() => checkBranch(name)).not.toThrow();
  for (const name of ["-", "HEAD~1", "HEAD:file", "0123abc"]) expect(() => checkRevision(name)).not.toThrow();
});
