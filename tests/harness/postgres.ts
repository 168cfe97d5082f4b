// A real PostgreSQL for tests; the suite of the store uses the same.
export { TestPostgres, type TestPostgresOptions } from "@caisson/testkit";
