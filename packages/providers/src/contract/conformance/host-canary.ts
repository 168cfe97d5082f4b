import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** Things on the host that no box may see: files, a process, a TCP listener, an abstract socket. */
export class HostCanary {
  readonly word: string;
  readonly files: readonly string[];
  readonly port: number;
  /** Name of the abstract socket, without its leading NUL. */
  readonly abstractName: string;
  /** Connections that came to the listeners. */
  connections = 0;
  readonly #servers: readonly Server[];

  private constructor(word: string, files: readonly string[], port: number, abstractName: string, servers: readonly Server[]) {
    this.word = word;
    this.files = files;
    this.port = port;
    this.abstractName = abstractName;
    this.#servers = servers;
    for (const server of servers) server.on("connection", (socket) => (this.connections++, socket.destroy()));
  }

  /** `folders` get a file each, beside the usual places. */
  static async set(folders: readonly string[]): Promise<HostCanary> {
    const word = `canary${process.pid}${Date.now()}`;
    const wanted = ["/tmp", "/var/tmp", "/dev/shm", "/opt", "/srv", homedir(), ...folders].map((folder) => join(folder, word));
    const files = wanted.filter((path) => {
      try {
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, word);
        return true;
      } catch {
        // Not ours to write here, so nothing of ours can leak from here.
        return false;
      }
    });
    const tcp = createServer().listen(0, "127.0.0.1");
    await once(tcp, "listening");
    const address = tcp.address();
    const abstract = createServer().listen(`\0${word}`);
    await once(abstract, "listening");
    return new HostCanary(word, files, typeof address === "object" && address !== null ? address.port : 0, word, [tcp, abstract]);
  }

  async remove(): Promise<void> {
    for (const path of this.files) rmSync(path, { force: true });
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}
