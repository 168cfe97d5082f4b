import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatMistake } from "./config-mistake.ts";
import { loadConfig, readConfig } from "./load-config.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "caisson-config-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, "caisson.yaml");
  writeFileSync(path, text);
  return path;
}

function mistakes(text: string, env: Record<string, string> = {}): readonly string[] {
  return readConfig({ path: file(text), env }).mistakes.map(formatMistake);
}

describe("configuration", () => {
  test("everything has a default", () => {
    const config = loadConfig({ env: {} });
    expect(config.server).toMatchObject({ host: "127.0.0.1", port: 7423 });
    expect(config.providers.default).toBe("auto");
  });

  test("takes a file that names a configuration by CAISSON_CONFIG, with variables over it", () => {
    const path = file(`
server: { host: "127.0.0.1", port: 7423 }
providers: { default: mock, mock: { enabled: true }, docker: { enabled: false }, firecracker: { enabled: false } }
auth: { api_key: dev-api-key-dev-api-key, admin_fallback_enabled: false }
database: { driver: sqlite, path: /tmp/x.db }
`);
    const env = {
      CAISSON_CONFIG: path,
      CAISSON_SERVER__PORT: "8080",
      CAISSON_PROVIDERS__OCI__ENABLED: "false",
      CAISSON_DATA_DIR: "/srv/caisson",
      CAISSON_SERVER__CORS_ALLOWED_ORIGINS: "https://a.example, https://b.example",
      CAISSON_URL: "http://127.0.0.1:1",
      CAISSON_API_KEY: "x",
      PATH: "/bin",
    };
    const config = loadConfig({ env });
    expect(config.server).toMatchObject({
      host: "127.0.0.1",
      port: 8080,
      cors_allowed_origins: ["https://a.example", "https://b.example"],
    });
    expect(config.providers.oci.enabled).toBe(false);
    expect(config.data_dir).toBe("/srv/caisson");
    expect(config.auth.api_key).toBe("dev-api-key-dev-api-key");
  });

  test("an empty variable or list is a value of its own", () => {
    expect(loadConfig({ env: { CAISSON_IMAGES__INSECURE_REGISTRIES: "" } }).images.insecure_registries).toEqual([]);
  });

  test("tells every mistake at once, with its line and what was meant", () => {
    expect(
      [
        ...mistakes(
          `server:
  prot: 8080
  host: 3
provider:
  default: oci
port: 1
defaults:
  ttl: 5 minutes
  exec_timeout: 0
  pids: 1
providers:
  default: occi
  docker: { enabled: true }
`,
          { CAISSON_SERVER__PORT: "eighty" },
        ),
      ].sort(),
    ).toEqual(
      [
        'CAISSON_SERVER__PORT: server.port: must be a number, not "eighty"',
        'caisson.yaml:3: server.host: must be text; put it in quotes: "3"',
        "caisson.yaml:2: server.prot: there is no such key; did you mean `port`?",
        'caisson.yaml:12: providers.default: must be one of auto, oci, bubblewrap, mock, not "occi"; did you mean oci?',
        "caisson.yaml:13: providers.docker.enabled: this build has no such provider; only `enabled: false` is accepted",
        "caisson.yaml:8: defaults.ttl: is not a duration; write for example 30s, 5m or 1h30m",
        "caisson.yaml:10: defaults.pids: must be at least 8",
        'caisson.yaml:9: defaults.exec_timeout: must be text; put it in quotes: "0"',
        "caisson.yaml:4: provider: there is no such key; did you mean `providers`?",
        "caisson.yaml:6: port: there is no such key; did you mean `server.port`?",
      ].sort(),
    );
  });

  test("syntax errors carry their line", () => {
    expect(mistakes("server:\n  port: 1\n  port: 2\n")[0]).toMatch(/^caisson\.yaml:3: .*unique/);
    expect(mistakes("server:\n  host: [1\n")[0]).toMatch(/^caisson\.yaml:/);
    expect(mistakes("- a\n")).toEqual(["caisson.yaml:1: must be a map of sections, such as `server:`"]);
    expect(readConfig({ path: "/nonexistent/c.yaml", env: {} }).mistakes.map(formatMistake)).toEqual([
      "/nonexistent/c.yaml: cannot be read: there is no such file",
    ]);
  });

  test("variables that look like ours but name nothing are refused", () => {
    const env = { CAISSON_SERVER_PORT: "1", CAISSON_SERVR__PORT: "1", CAISSON_SERVER: "x", CAISSON_CELLAR: "wine" };
    expect(readConfig({ env }).mistakes.map(formatMistake)).toEqual([
      "CAISSON_SERVER: server: is a section; name a key of it, such as CAISSON_SERVER__HOST",
      "CAISSON_SERVER_PORT: names no key of the configuration; did you mean CAISSON_SERVER__PORT?",
      "CAISSON_SERVR__PORT: names no key of the configuration; did you mean CAISSON_SERVER__PORT?",
    ]);
  });

  test("a mistake in a variable's value names the variable", () => {
    expect(readConfig({ env: { CAISSON_SERVER__PORT: "99999" } }).mistakes.map(formatMistake)).toEqual([
      "CAISSON_SERVER__PORT: server.port: must be at most 65535",
    ]);
    expect(readConfig({ env: { CAISSON_AUTH__API_KEY: "short" } }).mistakes.map(formatMistake)).toEqual([
      "CAISSON_AUTH__API_KEY: auth.api_key: must have at least 16 characters",
    ]);
  });

  test("values that do not go together are refused", () => {
    expect(mistakes("providers: { default: mock }\ndefaults: { ttl: 2h, max_ttl: 1h }\n")).toEqual([
      "providers.default: mock is not enabled; set providers.mock.enabled to true",
      "defaults.ttl: is longer than defaults.max_ttl (1h)",
    ]);
    const nothing = "needs worker.listen_addr, which is not set: nothing would listen there";
    expect(
      mistakes(
        "worker: { heartbeat_interval: 1m, advertise_addr: 'a:1', public_url: 'https://a', preview_domain: a.example, preview_url: 'https://a.example' }\n",
      ),
    ).toEqual([
      "worker.heartbeat_interval: is longer than 30s: the worker would be late",
      `worker.advertise_addr: ${nothing}`,
      `worker.public_url: ${nothing}`,
      `worker.preview_domain: ${nothing}`,
    ]);
    expect(mistakes("worker: { listen_addr: 127.0.0.1:7430, preview_url: 'https://a.example' }\n")).toEqual([
      "worker.preview_url: needs worker.preview_domain, which is not set",
    ]);
    expect(mistakes("worker: { listen_addr: 127.0.0.1:7430, public_url: 'https://a' }\n")).toEqual([]);
  });

  test("a value where a section belongs is refused even with variables over it", () => {
    expect(mistakes("server: 5\n", { CAISSON_SERVER__PORT: "1" })).toEqual([
      "caisson.yaml:1: server: must be a section with keys of its own, not 5",
    ]);
  });
});
