import { systemClock } from "@caisson/contract";
import { TestPostgres } from "@caisson/testkit";
import { afterAll, beforeAll } from "vitest";
import { openPostgres } from "../open-postgres.ts";
import { describeStore, type StoreDescriptor } from "../store-suite.ts";
import { describeWorkers } from "../worker-suite.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await TestPostgres.start();
});
afterAll(() => postgres[Symbol.asyncDispose]());

const onPostgres: StoreDescriptor = {
  name: "PostgreSQL",
  ownTime: false,
  open: (time) => openPostgres({ dsn: postgres.makeDatabase(), clock: systemClock, time }),
  remove: () => Promise.resolve(),
};
describeStore(onPostgres);
describeWorkers(onPostgres);
