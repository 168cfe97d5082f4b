import { readdir, readFile } from "node:fs/promises";
import { GitError, type Sandbox } from "@caisson/sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiAccess } from "../harness/api-access.ts";
import type { SandboxTarget } from "./sandbox-target.ts";

const SECRET = "s3cret/+&ü token";
const USER = "ada";

/** `git http-backend` behind Basic authentication, on the sandbox's own loopback. */
const HTTP_SERVER = `
import base64, os, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
WANTED = "Basic " + base64.b64encode(os.environ["WANTED"].encode()).decode()
class Handler(BaseHTTPRequestHandler):
  def handle_git(self):
    if self.headers.get("authorization") != WANTED:
      self.send_response(401); self.send_header("www-authenticate", 'Basic realm="git"'); self.send_header("content-length", "0"); self.end_headers(); return
    path, _, query = self.path.partition("?")
    if self.headers.get("transfer-encoding") == "chunked":
      body = b""
      while (size := int(self.rfile.readline(), 16)): body += self.rfile.read(size); self.rfile.readline()
      self.rfile.readline()
    else: body = self.rfile.read(int(self.headers.get("content-length") or 0))
    env = dict(os.environ, GIT_PROJECT_ROOT="/home/user/srv", GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path, QUERY_STRING=query, REQUEST_METHOD=self.command,
      CONTENT_TYPE=self.headers.get("content-type") or "", CONTENT_LENGTH=str(len(body)), REMOTE_USER="ada", GIT_PROTOCOL=self.headers.get("git-protocol") or "", HTTP_CONTENT_ENCODING=self.headers.get("content-encoding") or "")
    out = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True).stdout
    head, _, rest = out.partition(b"\\r\\n\\r\\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\\r\\n")]
    self.send_response(int(dict(lines).get("Status", "200").split()[0]))
    for name, value in lines:
      if name != "Status": self.send_header(name, value)
    self.send_header("content-length", str(len(rest))); self.end_headers(); self.wfile.write(rest)
  do_GET = do_POST = handle_git
  def log_message(self, *args): pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
`;

/** Git over HTTP with a password. */
export function git(target: () => SandboxTarget): void {
  let api: ApiAccess;
  let sandbox: Sandbox;
  let url = "";
  const author = { name: "Ada", email: "ada@example.org" };
  beforeAll(async () => {
    ({ api } = target());
    sandbox = await target().create({ image: "host" });
    await sandbox.commands.run("git init -q --bare -b main srv/there.git && git -C srv/there.git config http.receivepack true", {
      check: true,
    });
    await sandbox.files.write("/home/user/server.py", HTTP_SERVER);
    const { process_id } = await sandbox.commands.spawn(["python3", "server.py"], { env: { WANTED: `${USER}:${SECRET}` } });
    for await (const event of sandbox.processes.attach(process_id)) {
      if (event.type !== "output") continue;
      url = `http://127.0.0.1:${event.text.trim()}/there.git`;
      break;
    }
  });
  afterAll(() => sandbox.destroy());

  const access = { username: USER, token: SECRET };

  describe("git over HTTP with a password", () => {
    test("clones, commits, pushes and pulls", async () => {
      const { git } = sandbox;
      await git.clone(url, { path: "/home/user/one", ...access });
      expect(await git.status("/home/user/one")).toMatchObject({ branch: "main", commit: null, files: [] });
      await sandbox.files.write("/home/user/one/a b.txt", "one\n");
      expect((await git.status("/home/user/one")).files).toEqual([{ path: "a b.txt", staged: "?", unstaged: "?" }]);
      await git.add("/home/user/one");
      const id = await git.commit("/home/user/one", "First; $(touch /tmp/owned)", { author });
      expect(id).toMatch(/^[0-9a-f]{40}$/);
      await git.push("/home/user/one", access);
      expect(await git.status("/home/user/one")).toMatchObject({
        branch: "main",
        commit: id,
        upstream: "origin/main",
        ahead: 0,
        behind: 0,
      });

      const embedded = new URL(url);
      embedded.username = USER;
      embedded.password = encodeURIComponent(SECRET);
      await git.clone(embedded.href, { path: "/home/user/two", depth: 1, branch: "main" });
      await sandbox.commands.run(["git", "mv", "a b.txt", "c.txt"], { cwd: "/home/user/one", check: true });
      await git.commit("/home/user/one", "Second", { author });
      expect(await git.status("/home/user/one")).toMatchObject({ ahead: 1, behind: 0 });
      await git.push("/home/user/one", access);
      await git.pull("/home/user/two", access);
      expect(await sandbox.files.exists("/home/user/two/c.txt")).toBe(true);
      expect(await sandbox.files.exists("/tmp/owned")).toBe(false);
      await git.checkout("/home/user/two", "topic", { create: true });
      expect(await git.branches("/home/user/two")).toEqual(["main", "topic"]);
    });

    test("a wrong password and a missing one fail without waiting, and without telling it", async () => {
      for (const token of ["wrong-password", undefined]) {
        const error = await sandbox.git.clone(url, { path: "/tmp/never", token, timeout: "20s" }).catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(GitError);
        expect(JSON.stringify([error, (error as Error).message, (error as GitError).stderr])).not.toContain("wrong-password");
      }
      await expect(sandbox.git.clone("--upload-pack=touch /tmp/owned", { path: "/tmp/never" })).rejects.toThrow(GitError);
      await expect(sandbox.git.clone("ext::sh -c touch% /tmp/owned", { path: "/tmp/never" })).rejects.toThrow(GitError);
      await sandbox.files.write("/home/user/one/c.txt", "not committed");
      await expect(sandbox.git.checkout("/home/user/one", "-f")).rejects.toMatchObject({ code: "invalid_request" });
      await expect(sandbox.git.push("/home/user/one", { ...access, branch: ":main" })).rejects.toMatchObject({ code: "invalid_request" });
      expect(await sandbox.files.readText("/home/user/one/c.txt")).toBe("not committed");
      await sandbox.git.clone(url.replace("//", "//ada:100%@"), { path: "/tmp/never" }).then(
        () => expect.fail("a wrong password was taken"),
        (error: unknown) => expect(error).toBeInstanceOf(GitError),
      );
      await expect(sandbox.git.clone("/srv/x", { path: "/tmp/never", token: "t" })).rejects.toMatchObject({ code: "invalid_request" });
      expect(await sandbox.files.exists("/tmp/owned")).toBe(false);
    });

    test("no other server gets the password", async () => {
      const other = "http://127.0.0.1:9/other.git";
      await sandbox.commands.run(["git", "remote", "add", "other", other], { cwd: "/home/user/one", check: true });
      const helper = ["git", "credential", "fill"];
      const { stdout } = await sandbox.commands.run(helper, {
        stdin: `url=${other}\n\n`,
        env: { GIT_TERMINAL_PROMPT: "0", GIT_ASKPASS: "" },
      });
      expect(stdout).not.toContain("password");
    });

    test("the password is in no file, log, event or list of processes", async () => {
      const secrets = [SECRET, encodeURIComponent(SECRET), Buffer.from(`${USER}:${SECRET}`).toString("base64")];
      const places: Record<string, string> = {
        servers: target().traces.output,
        processes: JSON.stringify(await sandbox.processes.list()),
        log: JSON.stringify(await api.json("GET", `/sandboxes/${sandbox.id}/exec-log?limit=1000`)),
        events: JSON.stringify(await api.json("GET", "/events?limit=1000")),
        config: await sandbox.files.readText("/home/user/one/.git/config"),
        config2: await sandbox.files.readText("/home/user/two/.git/config"),
        home: (await sandbox.commands.run("grep -rl -e s3cre[t] /home/user /tmp; true")).stdout,
      };
      for (const folder of target().traces.folders)
        for (const file of await readdir(folder, { recursive: true }))
          places[`${folder}/${file}`] = await readFile(`${folder}/${file}`, "latin1").catch(() => "");
      const found = Object.entries(places).filter(([, text]) => secrets.some((secret) => text.includes(secret)) || text.includes("s3cret"));
      expect(found.map(([place]) => place)).toEqual([]);
    });
  });
}
