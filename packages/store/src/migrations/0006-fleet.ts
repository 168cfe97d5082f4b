import { sql, type Kysely } from "kysely";
import type { Migration } from "kysely/migration";
import type { Flavour } from "./flavour.ts";

/** Many workers and many control planes: what each worker is and was promised, its credentials, and keys that are shared. */
export function fleet({ int, float, sequence }: Flavour): Migration {
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema.alterTable("sandboxes").addColumn("tenant_id", "text").execute();
      await db.schema.alterTable("sandboxes").addColumn("placement", "text").execute();
      await db.schema.createIndex("sandboxes_worker").on("sandboxes").columns(["worker_id", "created_at", "id"]).execute();

      // With live ones in it, SQLite takes it for every question about live ones, and sorts them all.
      await db.schema.dropIndex("sandboxes_ended").execute();
      await db.schema
        .createIndex("sandboxes_ended")
        .on("sandboxes")
        .column("ended_at")
        .where(sql.ref("ended_at"), "is not", null)
        .execute();
      // What lists show unless told otherwise, however many ended ones are kept.
      await db.schema
        .createIndex("sandboxes_live_created")
        .on("sandboxes")
        .columns(["created_at", "id"])
        .where(sql.ref("ended_at"), "is", null)
        .execute();

      // Who drives a creation; another control plane goes on when the time is over.
      await db.schema.alterTable("sandboxes").addColumn("driver", "text").execute();
      await db.schema.alterTable("sandboxes").addColumn("driver_until", int).execute();
      await db.schema
        .createIndex("sandboxes_driver")
        .on("sandboxes")
        .columns(["driver_until"])
        .where(sql.ref("driver_until"), "is not", null)
        .execute();

      // Who ends what is due; another control plane does when the time is over.
      await db.schema.alterTable("sandboxes").addColumn("reaper", "text").execute();
      await db.schema.alterTable("sandboxes").addColumn("reaper_until", int).execute();

      // What each lease promised, so that the counters of workers can be checked and mended.
      await db.schema
        .alterTable("leases")
        .addColumn("memory_mb", int, (column) => column.notNull().defaultTo(0))
        .execute();
      await db.schema
        .alterTable("leases")
        .addColumn("vcpus", float, (column) => column.notNull().defaultTo(0))
        .execute();
      await db.schema
        .alterTable("leases")
        .addColumn("disk_mb", int, (column) => column.notNull().defaultTo(0))
        .execute();
      await promiseLeases(db as Kysely<OldTables>);

      // It told only when a worker was last seen; heartbeats tell all of it again.
      await db.schema.dropTable("workers").execute();
      await db.schema
        .createTable("workers")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("version", int, (column) => column.notNull())
        .addColumn("state", "text", (column) => column.notNull())
        .addColumn("admin_drain", int, (column) => column.notNull().defaultTo(0))
        .addColumn("self_drain", int, (column) => column.notNull().defaultTo(0))
        .addColumn("tenant_id", "text")
        .addColumn("credential", "text")
        .addColumn("revoked_before", int)
        .addColumn("build", "text")
        .addColumn("session", "text")
        .addColumn("sequence", int, (column) => column.notNull().defaultTo(0))
        .addColumn("previous_session", "text")
        .addColumn("labels", "text", (column) => column.notNull())
        .addColumn("providers_digest", "text")
        .addColumn("providers", "text", (column) => column.notNull())
        .addColumn("images", "text", (column) => column.notNull())
        .addColumn("capacity", "text", (column) => column.notNull())
        .addColumn("used", "text")
        .addColumn("reserved_sandboxes", int, (column) => column.notNull().defaultTo(0))
        .addColumn("reserved_memory_mb", int, (column) => column.notNull().defaultTo(0))
        .addColumn("reserved_vcpus", float, (column) => column.notNull().defaultTo(0))
        .addColumn("reserved_disk_mb", int, (column) => column.notNull().defaultTo(0))
        .addColumn("preview_domain", "text")
        .addColumn("preview_url", "text")
        .addColumn("public_url", "text")
        .addColumn("advertise_addr", "text")
        .addColumn("on_control_loss", "text", (column) => column.notNull())
        .addColumn("last_heartbeat_at", int)
        .addColumn("reconciled_by", "text")
        .addColumn("reconciled_until", int)
        .addColumn("created_at", int, (column) => column.notNull())
        .addColumn("updated_at", int, (column) => column.notNull())
        .execute();

      await db.schema
        .createTable("worker_invitations")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("worker_id", "text")
        .addColumn("tenant_id", "text")
        .addColumn("hash", "text", (column) => column.notNull().unique())
        .addColumn("created_at", int, (column) => column.notNull())
        .addColumn("expires_at", int, (column) => column.notNull())
        .addColumn("used_at", int)
        .addColumn("used_by", "text")
        .addColumn("key_thumbprint", "text")
        .execute();
      await db.schema.createIndex("worker_invitations_worker").on("worker_invitations").columns(["worker_id"]).execute();

      await db.schema
        .createTable("worker_refresh_tokens")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("worker_id", "text", (column) => column.notNull().references("workers.id").onDelete("cascade"))
        .addColumn("family", "text", (column) => column.notNull())
        .addColumn("hash", "text", (column) => column.notNull().unique())
        .addColumn("key_thumbprint", "text", (column) => column.notNull())
        .addColumn("parent_id", "text")
        .addColumn("created_at", int, (column) => column.notNull())
        .addColumn("expires_at", int, (column) => column.notNull())
        .addColumn("confirmed_at", int)
        .addColumn("revoked_at", int)
        .execute();
      await db.schema.createIndex("worker_refresh_tokens_worker").on("worker_refresh_tokens").columns(["worker_id", "family"]).execute();

      await db.schema
        .createTable("used_nonces")
        .addColumn("nonce", "text", (column) => column.primaryKey())
        .addColumn("expires_at", int, (column) => column.notNull())
        .execute();

      await db.schema
        .createTable("control_planes")
        .addColumn("id", "text", (column) => column.primaryKey())
        .addColumn("url", "text", (column) => column.notNull())
        .addColumn("build", "text", (column) => column.notNull())
        .addColumn("started_at", int, (column) => column.notNull())
        .addColumn("last_seen_at", int, (column) => column.notNull())
        .execute();

      await db.schema
        .createTable("cluster_secrets")
        .addColumn("name", "text", (column) => column.primaryKey())
        .addColumn("value", "text", (column) => column.notNull())
        .addColumn("created_at", int, (column) => column.notNull())
        .execute();

      if (sequence === "identity") await placeByReaders(db);
    },
  };
}

/**
 * Where several write at once, a row's number says when it was made, not when it could be read. So the place in the order is
 * a column of its own, which readers fill in; see `LazyOrder`.
 */
async function placeByReaders(db: Kysely<unknown>): Promise<void> {
  await sql`alter table events alter column seq drop identity, drop constraint events_pkey, alter column seq drop not null`.execute(db);
  await sql`alter table events add column id bigint generated always as identity primary key`.execute(db);
  await sql`create unique index events_seq on events (seq)`.execute(db);
  await sql`create index events_without_place on events (id) where seq is null`.execute(db);
  await sql`create table event_counter (id bigint primary key check (id = 1), last bigint not null)`.execute(db);
  await sql`insert into event_counter (id, last) select 1, coalesce(max(seq), 0) from events`.execute(db);
}

interface OldTables {
  sandboxes: { id: string; spec: string };
  leases: { sandbox_id: string; memory_mb: number; vcpus: number; disk_mb: number };
}

/** Gives leases of old the amounts that their sandboxes were promised. */
async function promiseLeases(db: Kysely<OldTables>): Promise<void> {
  const rows = await db.selectFrom("leases").innerJoin("sandboxes", "sandboxes.id", "leases.sandbox_id").select(["id", "spec"]).execute();
  for (const { id, spec } of rows) {
    const { resources = {} } = JSON.parse(spec) as { readonly resources?: Readonly<Record<string, number>> };
    await db
      .updateTable("leases")
      .set({ memory_mb: resources["memoryMb"] ?? 0, vcpus: resources["vcpus"] ?? 0, disk_mb: resources["diskMb"] ?? 0 })
      .where("sandbox_id", "=", id)
      .execute();
  }
}
