/** How the column types of a database are called; all that migrations need to know of it. */
export interface Flavour {
  /** A 64-bit integer. */
  readonly int: "integer" | "bigint";
  /** A number of 64 bits with a fraction. */
  readonly float: "real" | "double precision";
  /** A primary key that only grows and is never used twice. */
  readonly sequence: "integer-autoincrement" | "identity";
}

/** Column types of SQLite. */
export const SQLITE_FLAVOUR: Flavour = { int: "integer", float: "real", sequence: "integer-autoincrement" };

/** Column types of PostgreSQL. */
export const POSTGRES_FLAVOUR: Flavour = { int: "bigint", float: "double precision", sequence: "identity" };
