import type { Kysely } from "kysely";
import type { Migration } from "kysely/migration";
import type { Flavour } from "./flavour.ts";

/** Visibility of ports, until the end of their sandbox. */
export function ports({ int }: Flavour): Migration {
  return {
    async up(db: Kysely<unknown>): Promise<void> {
      await db.schema
        .createTable("ports")
        .addColumn("sandbox_id", "text", (column) => column.notNull().references("sandboxes.id").onDelete("cascade"))
        .addColumn("port", int, (column) => column.notNull())
        .addColumn("public", int, (column) => column.notNull())
        .addColumn("updated_at", int, (column) => column.notNull())
        .addPrimaryKeyConstraint("ports_pk", ["sandbox_id", "port"])
        .execute();
    },
  };
}
