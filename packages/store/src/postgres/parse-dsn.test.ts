import { isCaissonError } from "@caisson/contract";
import { expect, it } from "vitest";
import { parseDsn } from "./parse-dsn.ts";

it("reads user, password, hosts, database and TLS", () => {
  const { targets, shown } = parseDsn("postgres://us%40er:p%3Aw%2F@db1:6432,[::1],db3/ca%20isson?sslmode=verify-full");
  const common = { user: "us@er", password: "p:w/", database: "ca isson", ssl: { rejectUnauthorized: true } };
  expect(targets).toEqual([
    { ...common, host: "db1", port: 6432 },
    { ...common, host: "::1", port: 5432 },
    { ...common, host: "db3", port: 5432 },
  ]);
  expect(shown).toBe("db1:6432,::1:5432,db3:5432/ca%20isson");
});

it("takes as little as a host, or the folder of a socket", () => {
  expect(parseDsn("postgresql://db").targets).toEqual([{ host: "db", port: 5432, ssl: false }]);
  expect(parseDsn("postgres:///x?host=/run/postgresql").targets).toEqual([
    { host: "/run/postgresql", port: 5432, database: "x", ssl: false },
  ]);
  expect(parseDsn("postgres://db/x?sslmode=require").targets[0]?.ssl).toEqual({ rejectUnauthorized: false });
  expect(parseDsn("postgres://db/x?sslmode=verify-ca").targets[0]?.ssl).toMatchObject({ rejectUnauthorized: true });
});

it.each([
  "",
  "db:5432/x",
  "mysql://db/x",
  "postgres://a:geheim@db/x?sslmode=prefer",
  "postgres://a:geheim@db/x?sslmode=verify-full&sslrootcert=/nowhere",
  "postgres://a:geheim@db/x?connect_timeout=3",
  "postgres://a:geheim@db/x?target_session_attrs=read-only",
  "postgres://a:geheim%zz@db/x",
  "postgres://a:geheim@db:port/x",
])("refuses %j, and tells no password", (dsn) => {
  let error: unknown;
  try {
    parseDsn(dsn);
  } catch (thrown) {
    error = thrown;
  }
  if (!isCaissonError(error, "invalid_request")) throw new Error(`not refused but ${String(error)}`);
  expect(error.message + JSON.stringify(error.detail)).not.toContain("geheim");
});
