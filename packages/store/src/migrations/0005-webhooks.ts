import { sql, type Kysely } from "kysely";
import type { Migration } from "kysely/migration";
import type { Flavour } from "./flavour.ts";

/** Webhooks and their messages. */
export function webhooks({ int, float, sequence }: Flavour): Migration {
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("webhooks")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("url", "text", (column) => column.notNull())
        .addColumn("events", "text", (column) => column.notNull())
        .addColumn("sandbox_id", "text")
        .addColumn("active", int, (column) => column.notNull())
        .addColumn("secret", "text", (column) => column.notNull())
        .addColumn("old_secret", "text")
        .addColumn("old_secret_until", int)
        .addColumn("position", int, (column) => column.notNull())
        .addColumn("lease_owner", "text")
        .addColumn("lease_until", int)
        .addColumn("created_at", int, (column) => column.notNull())
        .addColumn("updated_at", int, (column) => column.notNull())
        .execute();
      await db.schema
        .createTable("webhook_deliveries")
        .addColumn("seq", int, (column) =>
          sequence === "identity" ? column.generatedAlwaysAsIdentity().primaryKey() : column.primaryKey().autoIncrement(),
        )
        .addColumn("id", "text", (column) => column.notNull().unique())
        .addColumn("webhook_id", "text", (column) => column.notNull().references("webhooks.id").onDelete("cascade"))
        .addColumn("type", "text", (column) => column.notNull())
        .addColumn("event_seq", int)
        .addColumn("body", "text", (column) => column.notNull())
        .addColumn("status", "text", (column) => column.notNull())
        .addColumn("attempts", int, (column) => column.notNull())
        .addColumn("created_at", int, (column) => column.notNull())
        .addColumn("last_attempt_at", int)
        .addColumn("next_attempt_at", int)
        .addColumn("response_code", int)
        .addColumn("response_body", "text")
        .addColumn("error", "text")
        .addColumn("duration_ms", float)
        .execute();
      await db.schema.createIndex("webhook_deliveries_webhook").on("webhook_deliveries").columns(["webhook_id", "seq"]).execute();
      await db.schema
        .createIndex("webhook_deliveries_pending")
        .on("webhook_deliveries")
        .columns(["webhook_id", "seq"])
        .where(sql.ref("status"), "=", sql.lit("pending"))
        .execute();
      await db.schema.createIndex("webhook_deliveries_created").on("webhook_deliveries").column("created_at").execute();
    },
  };
}
