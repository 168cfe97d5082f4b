import { sql, type Kysely } from "kysely";
import type { Migration } from "kysely/migration";
import type { Flavour } from "./flavour.ts";

/** Events of every kind of resource, of which some are in no sandbox. */
export function eventsOfAll({ int, sequence }: Flavour): Migration {
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      if (sequence === "identity") {
        await db.schema
          .alterTable("events")
          .alterColumn("sandbox_id", (column) => column.dropNotNull())
          .execute();
        await db.schema.alterTable("events").addColumn("resource_id", "text").execute();
        await sql`update events set resource_id = sandbox_id`.execute(db);
        await db.schema
          .alterTable("events")
          .alterColumn("resource_id", (column) => column.setNotNull())
          .execute();
      } else {
        // SQLite cannot change a column, so the table is made anew; its sequence goes on where it was, also when it is empty.
        await sql`alter table events rename to old_events`.execute(db);
        await db.schema
          .createTable("events")
          .addColumn("seq", int, (column) => column.primaryKey().autoIncrement())
          .addColumn("type", "text", (column) => column.notNull())
          .addColumn("resource_id", "text", (column) => column.notNull())
          .addColumn("sandbox_id", "text")
          .addColumn("at", int, (column) => column.notNull())
          .addColumn("data", "text", (column) => column.notNull())
          .execute();
        await sql`insert into events (seq, type, resource_id, sandbox_id, at, data)
          select seq, type, sandbox_id, sandbox_id, at, data from old_events`.execute(db);
        await sql`delete from sqlite_sequence where name = 'events'`.execute(db);
        await sql`insert into sqlite_sequence (name, seq) select 'events', seq from sqlite_sequence where name = 'old_events'`.execute(db);
        await db.schema.dropTable("old_events").execute();
        await db.schema.createIndex("events_at").on("events").column("at").execute();
      }
      await db.schema.createIndex("events_sandbox").on("events").columns(["sandbox_id", "seq"]).execute();
    },
  };
}
