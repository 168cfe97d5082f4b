import { systemClock } from "@caisson/contract";
import { TestPostgres } from "@caisson/testkit";
import { afterAll, beforeAll } from "vitest";
import { openPostgres } from "../open-postgres.ts";
import { describeStore } from "../store-suite.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await TestPostgres.start();
});
afterAll(() => postgres[Symbol.asyncDispose]());

describeStore({
  name: "PostgreSQL",
  ownTime: false,
  open: (time) => openPostgres({ dsn: postgres.makeDatabase(), clock: systemClock, time }),
  remove: () => Promise.resolve(),
});
