import { sql, type Kysely } from "kysely";
import type { Migration } from "kysely/migration";
import type { Flavour } from "./flavour.ts";

/** What was run in sandboxes. It outlives them. */
export function execLog({ int }: Flavour): Migration {
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("exec_log")
        .addColumn("sandbox_id", "text", (column) => column.notNull())
        .addColumn("process_id", int, (column) => column.notNull())
        .addColumn("kind", "text", (column) => column.notNull())
        .addColumn("command", "text", (column) => column.notNull())
        .addColumn("args", "text", (column) => column.notNull())
        .addColumn("cut", int, (column) => column.notNull())
        .addColumn("user", "text")
        .addColumn("workdir", "text")
        .addColumn("started_at", int, (column) => column.notNull())
        .addColumn("ended_at", int)
        .addColumn("exit", "text")
        .addColumn("key_name", "text")
        .addColumn("request_id", "text")
        .addPrimaryKeyConstraint("exec_log_pk", ["sandbox_id", "process_id"])
        .execute();
      await db.schema.createIndex("exec_log_ended").on("exec_log").column("ended_at").execute();
      await db.schema
        .createIndex("exec_log_running")
        .on("exec_log")
        .columns(["sandbox_id"])
        .where(sql.ref("ended_at"), "is", null)
        .execute();
    },
  };
}
