import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { Forwarder } from "./forwarder.ts";
import { LabNetwork } from "./lab-network.ts";
import { inNamespace, labMissing, LabPlace, run } from "./lab-place.ts";

const ECHO = `require("node:net").createServer((s) => { s.on("error", () => {}); s.pipe(s); }).listen(7000, () => console.log("up"));`;

const closed = (socket: Socket): Promise<unknown> => new Promise((resolve) => socket.once("close", resolve));

describe.skipIf(labMissing() !== undefined)("the lab's network", () => {
  const open: AsyncDisposable[] = [];
  afterEach(async () => {
    for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]();
  });

  async function make(): Promise<{ place: LabPlace; network: LabNetwork }> {
    const place = await LabPlace.make();
    open.push({ [Symbol.asyncDispose]: () => place.remove() });
    return { place, network: await LabNetwork.make(place) };
  }

  async function echo(namespace: string): Promise<ChildProcess> {
    const [program, ...args] = [...inNamespace(namespace), process.execPath, "-e", ECHO];
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    return child;
  }

  function dialled(port: number): { socket: Socket; said: () => string } {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => (text += bytes.toString()));
    return { socket, said: () => text };
  }

  it("cuts a standing connection silently, both ways or one, and heals it", async () => {
    const { network } = await make();
    const server = await network.add("server");
    const client = await network.add("client");
    await echo(server.namespace);
    const forwarder = Forwarder.start(client.namespace);
    open.push(forwarder);
    const port = await forwarder.door([{ host: server.address, port: 7000 }]);
    const { socket, said } = dialled(port);
    socket.write("a");
    await expect.poll(said).toBe("a");
    for (const how of ["both", "forth"] as const) {
      await network.cut("server", "client", how);
      const before = said();
      socket.write(how);
      const other = dialled(port);
      // Nobody answers: the forwarder gives up on the target.
      await closed(other.socket);
      expect(said()).toBe(before);
      await network.heal("server", "client");
      await expect.poll(said).toBe(before + how);
    }
    socket.destroy();
  });

  it("lets a node behind NAT dial, and nobody dial it", async () => {
    const { network } = await make();
    const outside = await network.add("outside");
    const inside = await network.add("inside", { nat: true });
    await echo(inside.namespace);
    await echo(outside.namespace);
    const out = Forwarder.start(inside.namespace);
    const back = Forwarder.start(outside.namespace);
    open.push(out, back);
    const there = dialled(await out.door([{ host: outside.address, port: 7000 }]));
    there.socket.write("hello");
    await expect.poll(there.said).toBe("hello");
    for (const host of [inside.address, inside.seenAs]) await closed(dialled(await back.door([{ host, port: 7000 }])).socket);
    there.socket.destroy();
  });

  it("makes answers late, and swallows one", async () => {
    const { network } = await make();
    const outside = await network.add("outside");
    const inside = await network.add("inside", { nat: true });
    await echo(outside.namespace);
    const gateway = Forwarder.start(inside.gateway ?? "");
    const out = Forwarder.start(inside.namespace);
    open.push(gateway, out);
    await gateway.listen(9000, [{ host: outside.address, port: 7000 }]);
    await network.redirect("inside", { address: outside.address, port: 7000 }, 9000);
    const port = await out.door([{ host: outside.address, port: 7000 }]);
    const late = dialled(port);
    late.socket.write("1");
    await expect.poll(late.said).toBe("1");
    gateway.delay(150);
    const asked = performance.now();
    late.socket.write("2");
    await expect.poll(late.said, { interval: 5 }).toBe("12");
    expect(performance.now() - asked).toBeGreaterThan(290);
    gateway.delay(0);

    const swallowed = gateway.swallow("POST /lost");
    const losing = dialled(port);
    losing.socket.write("GET /found");
    await expect.poll(losing.said).toBe("GET /found");
    const lost = dialled(port);
    const broken = closed(lost.socket);
    lost.socket.write("POST /lost HTTP/1.1");
    await Promise.all([swallowed, broken]);
    expect(lost.said()).toBe("");
    const again = dialled(port);
    again.socket.write("POST /lost");
    await expect.poll(again.said).toBe("POST /lost");
    for (const one of [late, losing, again]) one.socket.destroy();
  });

  it("leaves nothing: not when it is removed, and not when its process was killed", async () => {
    const { place, network } = await make();
    const { namespace } = await network.add("one");
    const child = await echo(namespace);
    const ended = once(child, "exit");
    await place.remove();
    await ended;
    expect(existsSync(`/run/netns/${namespace}`)).toBe(false);

    const program = `import { LabPlace } from ${JSON.stringify(new URL("lab-place.ts", import.meta.url).pathname)};
      const place = await LabPlace.make();
      console.log(JSON.stringify([place.folder, await place.addNamespace("left")]));
      setInterval(() => {}, 1000);`;
    const dying = spawn(process.execPath, ["--input-type=module-typescript", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(dying.stdout, "data")) as [Buffer];
    const [folder, left] = JSON.parse(line.toString()) as [string, string];
    const inside = await echo(left);
    await LabPlace.make().then((other) => other.remove());
    expect([existsSync(folder), existsSync(`/run/netns/${left}`)]).toEqual([true, true]); // it lives: nobody else's to remove
    const dead = once(dying, "exit");
    dying.kill("SIGKILL");
    await dead;
    const swept = once(inside, "exit");
    await LabPlace.make().then((other) => other.remove());
    await swept;
    expect([existsSync(folder), existsSync(`/run/netns/${left}`)]).toEqual([false, false]);
    expect(await run("ip", ["link"])).not.toContain("clab");
  });
});
