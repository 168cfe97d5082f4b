import { sql, type Kysely } from "kysely";
import type { Migration } from "kysely/migration";
import type { Flavour } from "./flavour.ts";

/** Sandboxes with their labels, leases and idempotency keys; events; API keys; workers. */
export function sandboxes({ int, sequence }: Flavour): Migration {
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("sandboxes")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("version", int, (column) => column.notNull())
        .addColumn("epoch", int, (column) => column.notNull())
        .addColumn("state", "text", (column) => column.notNull())
        .addColumn("reason_code", "text")
        .addColumn("reason_message", "text")
        .addColumn("worker_id", "text", (column) => column.notNull())
        .addColumn("owner_id", "text")
        .addColumn("spec", "text", (column) => column.notNull())
        .addColumn("env", "text")
        .addColumn("metadata", "text", (column) => column.notNull())
        .addColumn("runtime", "text")
        .addColumn("image_digest", "text")
        .addColumn("preview_domain", "text")
        .addColumn("created_at", int, (column) => column.notNull())
        .addColumn("updated_at", int, (column) => column.notNull())
        .addColumn("started_at", int)
        .addColumn("expires_at", int, (column) => column.notNull())
        .addColumn("deadline_at", int)
        .addColumn("ended_at", int)
        .execute();
      await db.schema.createIndex("sandboxes_created").on("sandboxes").columns(["created_at", "id"]).execute();
      await db.schema.createIndex("sandboxes_ended").on("sandboxes").column("ended_at").execute();
      // Live ones only: what admission counts and the reaper looks at, however many ended ones are kept.
      await db.schema
        .createIndex("sandboxes_live")
        .on("sandboxes")
        .columns(["expires_at"])
        .where(sql.ref("ended_at"), "is", null)
        .execute();
      await db.schema
        .createIndex("sandboxes_deadline")
        .on("sandboxes")
        .columns(["deadline_at"])
        .where(sql.ref("deadline_at"), "is not", null)
        .execute();

      await db.schema
        .createTable("sandbox_metadata")
        .addColumn("sandbox_id", "text", (column) => column.notNull().references("sandboxes.id").onDelete("cascade"))
        .addColumn("key", "text", (column) => column.notNull())
        .addColumn("value", "text", (column) => column.notNull())
        .addPrimaryKeyConstraint("sandbox_metadata_pk", ["sandbox_id", "key"])
        .execute();
      await db.schema.createIndex("sandbox_metadata_value").on("sandbox_metadata").columns(["key", "value"]).execute();

      await db.schema
        .createTable("leases")
        .addColumn("sandbox_id", "text", (column) => column.primaryKey().references("sandboxes.id"))
        .addColumn("worker_id", "text", (column) => column.notNull())
        .addColumn("epoch", int, (column) => column.notNull())
        .addColumn("acquired_at", int, (column) => column.notNull())
        .execute();
      await db.schema.createIndex("leases_worker").on("leases").column("worker_id").execute();

      await db.schema
        .createTable("idempotency_keys")
        .addColumn("key", "text", (column) => column.primaryKey())
        .addColumn("request_hash", "text", (column) => column.notNull())
        .addColumn("sandbox_id", "text", (column) => column.notNull().references("sandboxes.id").onDelete("cascade"))
        .addColumn("expires_at", int, (column) => column.notNull())
        .execute();
      await db.schema.createIndex("idempotency_keys_expiry").on("idempotency_keys").column("expires_at").execute();
      await db.schema.createIndex("idempotency_keys_sandbox").on("idempotency_keys").column("sandbox_id").execute();

      await db.schema
        .createTable("events")
        .addColumn("seq", int, (column) =>
          sequence === "identity" ? column.generatedAlwaysAsIdentity().primaryKey() : column.primaryKey().autoIncrement(),
        )
        .addColumn("type", "text", (column) => column.notNull())
        .addColumn("sandbox_id", "text", (column) => column.notNull())
        .addColumn("at", int, (column) => column.notNull())
        .addColumn("data", "text", (column) => column.notNull())
        .execute();
      await db.schema.createIndex("events_at").on("events").column("at").execute();

      await db.schema
        .createTable("api_keys")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("name", "text", (column) => column.notNull())
        .addColumn("role", "text", (column) => column.notNull())
        .addColumn("hash", "text", (column) => column.notNull().unique())
        .addColumn("created_at", int, (column) => column.notNull())
        .execute();

      await db.schema
        .createTable("workers")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("state", "text", (column) => column.notNull())
        .addColumn("version", "text")
        .addColumn("last_seen_at", int, (column) => column.notNull())
        .execute();
    },
  };
}
