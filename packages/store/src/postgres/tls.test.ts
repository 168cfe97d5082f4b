import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, statSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@caisson/contract";
import { TestPostgres } from "@caisson/testkit";
import { expect, it } from "vitest";
import { postgresStatus } from "../database-status.ts";

it("speaks TLS as the address says, and checks whom it speaks to", async () => {
  await using postgres = await TestPostgres.start();
  const [key, cert] = [join(postgres.folder, "server.key"), join(postgres.folder, "server.crt")];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
  const made = spawnSync("openssl", [...request, "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]);
  expect(made.status).toBe(0);
  const { uid, gid } = statSync(postgres.folder);
  for (const file of [key, cert]) chownSync(file, uid, gid);
  chmodSync(key, 0o600);
  for (const [name, value] of Object.entries({ ssl: "on", ssl_key_file: key, ssl_cert_file: cert })) {
    postgres.sql(`alter system set ${name} = '${value}'`);
  }
  postgres.sql("select pg_reload_conf()");
  const status = (host: string, query: string): Promise<{ driver: string }> =>
    postgresStatus(`postgres://postgres@${host}:${postgres.port}/postgres?${query}`, systemClock);
  await expect.poll(() => status("localhost", "sslmode=require").catch(() => undefined)).toMatchObject({ driver: "postgres" });
  const unknown = /database_unavailable|cannot be used/;
  await expect(status("localhost", "sslmode=verify-full")).rejects.toThrow(unknown);
  const authority = `sslrootcert=${encodeURIComponent(cert)}`;
  expect(await status("localhost", `sslmode=verify-full&${authority}`)).toMatchObject({ driver: "postgres" });
  // The certificate does not name the address.
  await expect(status("127.0.0.1", `sslmode=verify-full&${authority}`)).rejects.toThrow(unknown);
  expect(await status("127.0.0.1", `sslmode=verify-ca&${authority}`)).toMatchObject({ driver: "postgres" });
});
