import { InvalidArgumentError } from "commander";
import { parseDuration } from "@caisson/contract";

/** Collects `NAME=VALUE`, repeatable; `NAME` alone takes the value from this process's environment. */
export function collectEnv(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const equals = text.indexOf("=");
  const name = equals < 0 ? text : text.slice(0, equals);
  const value = equals < 0 ? process.env[name] : text.slice(equals + 1);
  if (name === "") throw new InvalidArgumentError("Write NAME=VALUE.");
  if (value === undefined) throw new InvalidArgumentError(`${name} is not set here; write ${name}=VALUE.`);
  return { ...before, [name]: value };
}

/** Collects `KEY=VALUE`, repeatable. */
export function collectPair(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const equals = text.indexOf("=");
  if (equals < 1) throw new InvalidArgumentError("Write KEY=VALUE.");
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}

/** An amount of memory or disk in MiB: `512`, `512m`, `2g`. */
export function parseMebibytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(?:(m|mb|mib)|(g|gb|gib))?$/i.exec(text);
  if (match === null) throw new InvalidArgumentError("Write for example 512m or 2g.");
  return Math.round(Number(match[1]) * (match[3] === undefined ? 1 : 1024));
}

/** A number. */
export function parseNumber(text: string): number {
  if (!/^\d+(?:\.\d+)?$/.test(text)) throw new InvalidArgumentError("Write a number.");
  return Number(text);
}

/** A whole number. */
export function parseWhole(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("Write a whole number.");
  return Number(text);
}

/** A duration, as the API takes it. */
export function checkDuration(text: string): string {
  if (parseDuration(text) === undefined) throw new InvalidArgumentError("Write for example 30s, 5m or 1h30m.");
  return text;
}

/** Collects any text, repeatable. */
export function collectText(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
