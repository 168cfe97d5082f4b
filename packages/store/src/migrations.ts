import type { Kysely } from "kysely";
import { Migrator, type Migration } from "kysely/migration";
import { sandboxes } from "./migrations/0001-sandboxes.ts";
import { eventsOfAll } from "./migrations/0002-events-of-all.ts";
import { ports } from "./migrations/0003-ports.ts";
import { execLog } from "./migrations/0004-exec-log.ts";
import { webhooks } from "./migrations/0005-webhooks.ts";
import { fleet } from "./migrations/0006-fleet.ts";
import type { Flavour } from "./migrations/flavour.ts";

/** Every migration by name, in order. Applied ones are never edited; a change is a new one. */
export function migrationsOf(flavour: Flavour): Record<string, Migration> {
  return {
    "0001_sandboxes": sandboxes(flavour),
    "0002_events_of_all": eventsOfAll(flavour),
    "0003_ports": ports(flavour),
    "0004_exec_log": execLog(flavour),
    "0005_webhooks": webhooks(flavour),
    "0006_fleet": fleet(flavour),
  };
}

/** Brings a database to the newest schema. */
export async function migrate(db: Kysely<never>, flavour: Flavour): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: () => Promise.resolve(migrationsOf(flavour)) } });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
}
