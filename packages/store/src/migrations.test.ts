import { DatabaseSync } from "node:sqlite";
import { Kysely } from "kysely";
import { Migrator } from "kysely/migration";
import { expect, it } from "vitest";
import { EventRepository } from "./event-repository.ts";
import { migrate, migrationsOf } from "./migrations.ts";
import { SQLITE_FLAVOUR } from "./migrations/flavour.ts";
import { SqliteDialect } from "./sqlite-dialect.ts";
import type { Tables } from "./tables.ts";

it.each([
  { kept: [3, 4], next: 5 },
  { kept: [], next: 5 },
])("events $kept of an older database stay what they were, and the order goes on", async ({ kept, next }) => {
  const database = new DatabaseSync(":memory:");
  const db = new Kysely<Tables>({ dialect: new SqliteDialect(database) });
  const all = migrationsOf(SQLITE_FLAVOUR);
  const migrator = new Migrator({ db, provider: { getMigrations: () => Promise.resolve(all) } });
  await migrator.migrateTo("0001_sandboxes");
  for (let i = 1; i <= 4; i += 1)
    database.exec(`insert into events (type, sandbox_id, at, data) values ('sandbox.created', 'sb${i}', ${i}, '{"n":${i}}')`);
  database.exec(`delete from events where seq not in (${kept.join() || "0"})`);

  await migrate(db as unknown as Kysely<never>, SQLITE_FLAVOUR);

  const events = new EventRepository(db, Date);
  expect(await events.after(0, 10)).toMatchObject(
    kept.map((n) => ({ seq: n, type: "sandbox.created", resource_id: `sb${n}`, sandbox_id: `sb${n}`, data: { n } })),
  );
  await db
    .transaction()
    .execute((trx) => events.append(trx, 9, { type: "image.removed", resourceId: "debian:12", sandboxId: null, data: {} }));
  expect(await events.after(4, 10)).toMatchObject([{ seq: next, resource_type: "image", resource_id: "debian:12", sandbox_id: null }]);
  await db.destroy();
});
