import { systemClock } from "@caisson/contract";
import { TestPostgres } from "@caisson/testkit";
import { expect, it } from "vitest";
import { openPostgres } from "../open-postgres.ts";

/** A server that is, while there is a table `busy`, too busy to take a lock back in time. */
const BUSY = `
  create function public.pg_advisory_unlock(key bigint) returns boolean language plpgsql as $$ begin
    if to_regclass('public.busy') is not null then perform pg_sleep(60); end if;
    return pg_catalog.pg_advisory_unlock(key);
  end $$`;

it("gives a lock away with its session when it cannot be given back", async () => {
  await using postgres = await TestPostgres.start();
  const dsn = postgres.makeDatabase();
  postgres.sql(BUSY, dsn);
  postgres.sql(`alter database ${new URL(dsn).pathname.slice(1)} set search_path = public, pg_catalog`);
  await using first = await openPostgres({ dsn, clock: systemClock, maxConnections: 2 });
  await using second = await openPostgres({ dsn, clock: systemClock, maxConnections: 2 });
  const ran: string[] = [];
  postgres.sql("create table public.busy ()", dsn);
  await first.singleton("once", async () => void ran.push("first"), new AbortController().signal);
  postgres.sql("drop table public.busy", dsn);
  await second.singleton("once", async () => void ran.push("second"), AbortSignal.timeout(60_000));
  expect(ran).toEqual(["first", "second"]);
});
