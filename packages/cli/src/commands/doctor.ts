import type { Command } from "commander";
export function addDoctorCommand(_program: Command, _done: unknown): void {}
