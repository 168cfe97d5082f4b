import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { freePort } from "./free-port.ts";

const REMEDY = "Install it (Debian: apt-get install postgresql); `npm test` does so as root.";
/** Time to be up, in ms. */
const UP_MS = 60_000;
const READY = "database system is ready to accept connections";

/** What a test may set. */
export interface TestPostgresOptions {
  /** `on` for figures and for losing power; by default nothing waits for the disk, which a killed process does not need. */
  readonly fsync?: "on" | "off";
  /** Further settings, by name. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Where it runs, when not simply here. */
  readonly at?: PostgresPlace;
}

/** A place such as a network namespace. */
export interface PostgresPlace {
  /** Words before each command line that has to run there. */
  readonly prefix: readonly string[];
  /** Where it listens. */
  readonly address: string;
  /** Folder for its data, made here; removed at the end. */
  readonly folder: string;
}

/** A real PostgreSQL of its own in a temporary folder, on a free port of loopback; everybody there is trusted. */
export class TestPostgres implements AsyncDisposable {
  readonly port: number;
  /** Its data folder. */
  readonly folder: string;
  readonly #settings: readonly string[];
  readonly #address: string;
  readonly #prefix: readonly string[];
  #child: ChildProcess | undefined;
  #log = "";
  #made = 0;

  private constructor(folder: string, port: number, options: TestPostgresOptions) {
    this.folder = folder;
    this.port = port;
    this.#address = options.at?.address ?? "127.0.0.1";
    this.#prefix = options.at?.prefix ?? [];
    const settings = {
      port: String(port),
      listen_addresses: this.#address,
      unix_socket_directories: folder,
      fsync: options.fsync ?? "off",
      max_connections: "200",
      ...options.settings,
    };
    this.#settings = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  }

  /** Makes one and starts it. Throws with a remedy when this machine has no PostgreSQL. */
  static async start(options: TestPostgresOptions = {}): Promise<TestPostgres> {
    const folder = options.at?.folder ?? mkdtempSync(join(tmpdir(), "caisson-pg-"));
    mkdirSync(folder, { recursive: true });
    const postgres = new TestPostgres(folder, await freePort(), options);
    try {
      const { uid, gid } = owner();
      if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
      const args = ["-D", join(folder, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
      const made = spawnSync(program("initdb"), args, { ...owner(), encoding: "utf8" });
      if (made.status !== 0) throw new Error(`initdb failed: ${made.error?.message ?? made.stderr}`);
      // Elsewhere, whoever reaches it comes from another machine.
      if (options.at !== undefined) appendFileSync(join(folder, "data/pg_hba.conf"), "host all all 0.0.0.0/0 trust\n");
      await postgres.up();
      return postgres;
    } catch (error) {
      await postgres[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The address of one of its databases. */
  dsn(database = "postgres"): string {
    return `postgres://postgres@${this.#address}:${this.port}/${database}`;
  }

  /** Makes an empty database and returns its address. */
  makeDatabase(): string {
    this.#made += 1;
    const name = `test_${this.#made}`;
    this.sql(`create database ${name} template template0`);
    return this.dsn(name);
  }

  /** Runs SQL as the superuser, in `psql`; what it prints, one line for each row. */
  sql(text: string, dsn: string = this.dsn()): string {
    const words = [...this.#prefix, program("psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", text];
    const ran = spawnSync(words[0] ?? "", words.slice(1), { encoding: "utf8" });
    if (ran.status !== 0) throw new Error(`psql failed: ${ran.error?.message ?? ran.stderr}`);
    return ran.stdout.trim();
  }

  /** What it logged since it was last started. */
  get log(): string {
    return this.#log;
  }

  /** Starts it (again) and waits until it takes connections. Nothing to do where it runs. */
  async up(): Promise<void> {
    if (this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null) return;
    const until = Date.now() + UP_MS;
    // Right after a kill its children may still hold the shared memory: then it refuses to start, and is asked again.
    while (!(await this.#launch())) {
      if (Date.now() > until) throw new Error(`PostgreSQL does not start:\n${this.#log}`);
    }
  }

  /** Asks it to end at once, in order: connections are broken, nothing is lost. */
  async stop(): Promise<void> {
    await this.#end("SIGINT");
  }

  /** Kills all its processes with SIGKILL and waits until they are gone. */
  async kill9(): Promise<void> {
    const children = this.#child?.pid === undefined ? [] : childrenOf(this.#child.pid);
    const gone = this.#end("SIGKILL");
    for (const pid of children) killQuietly(pid);
    await gone;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.up();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // As quick as to kill it, but it gives its shared memory back, of which a machine has little.
    await this.#end("SIGQUIT");
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #launch(): Promise<boolean> {
    this.#log = "";
    const words = [program("postgres"), "-D", join(this.folder, "data"), ...this.#settings];
    // Only root may enter another place, so who runs it there changes after that.
    const here = this.#prefix.length === 0;
    const [first = "", ...rest] = here ? words : [...this.#prefix, ...asOwner(), ...words];
    const child = spawn(first, rest, { ...(here ? owner() : {}), stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    const ended = once(child, "close").then(() => false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    child.stderr.on("data", (chunk: Buffer) => {
      this.#log = (this.#log + chunk.toString()).slice(-65_536);
      if (this.#log.includes(READY)) resolve(true);
    });
    return Promise.race([promise, ended]);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "close");
    child.kill(signal);
    await gone;
  }
}

/** PostgreSQL refuses to run as root. */
function owner(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] =
      readFileSync("/etc/passwd", "utf8")
        .match(new RegExp(`^${name}:[^:]*:.*$`, "m"))?.[0]
        ?.split(":") ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error("PostgreSQL does not run as root, and this machine has no user postgres.");
}

/** Words that have the command after them run by its user. */
function asOwner(): string[] {
  const { uid, gid } = owner();
  return uid === undefined ? [] : ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"];
}

/** Debian keeps the programs of a server out of the PATH, a folder for each version. */
function program(name: string): string {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : [];
  const folders = [...versions.map((version) => join(debian, version, "bin")), ...(process.env["PATH"] ?? "").split(delimiter)];
  const found = folders.map((folder) => join(folder, name)).find((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  if (found === undefined) throw new Error(`This machine has no PostgreSQL: ${name} is missing. ${REMEDY}`);
  return found;
}

function childrenOf(parent: number): number[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const rest = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "");
      return Number(rest.split(" ")[1]) === parent ? [Number(pid)] : [];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it has ended already
  }
}
