import { expect, test } from "vitest";
import { parseReference } from "./image-reference.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;

test.each([
  ["debian", "docker.io/library/debian:latest"],
  ["debian:12", "docker.io/library/debian:12"],
  ["team/app", "docker.io/team/app:latest"],
  ["localhost/app:1", "localhost/app:1"],
  ["127.0.0.1:5000/a/b/c:v1.2", "127.0.0.1:5000/a/b/c:v1.2"],
  ["127.0.0.1:5000/app", "127.0.0.1:5000/app:latest"],
  ["Registry.Example/a/b", "registry.example/a/b:latest"],
  [`debian@${DIGEST}`, `docker.io/library/debian@${DIGEST}`],
  [`registry.example/a/b:1@${DIGEST}`, `registry.example/a/b:1@${DIGEST}`],
  ["[::1]:5000/app:1", "[::1]:5000/app:1"],
])("%s is %s", (given, text) => {
  expect(parseReference(given)?.text).toBe(text);
  expect(parseReference(text)?.text).toBe(text);
});

test.each([
  "",
  "-debian",
  "--help",
  "Debian",
  "a//b",
  "/a",
  "a/",
  "a:",
  "a:b:c",
  "a b",
  "a@sha256:1",
  "../x",
  "a/../b",
  "docker://debian",
  "x".repeat(600),
  "a\0b",
  "a\n",
])("%j is none", (given) => expect(parseReference(given)).toBeUndefined());
