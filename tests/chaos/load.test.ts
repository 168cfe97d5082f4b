import { describe, expect, it } from "vitest";
import { Load, LIGHT_LOAD } from "../harness/load/load.ts";
import { firstAfter } from "../harness/load/ledger.ts";
import { OwnerWatch } from "../harness/load/owner-watch.ts";
import { contradictions, untilShownTrue } from "../harness/load/settle.ts";
import { TestServer } from "../harness/server.ts";

describe("one server under load", () => {
  it("keeps every promise over kill -9", { timeout: 300_000 }, async () => {
    await using server = await TestServer.start();
    const watch = new OwnerWatch(new Map([["local", server.dataDir]]));
    const load = await Load.start(server, { ...LIGHT_LOAD, streams: 2, keep: 5 });
    try {
      await expect.poll(() => load.ledger.creates.length).toBeGreaterThan(10);
      await server.kill9();
      await server.up();
      const back = performance.now();
      const shown = await untilShownTrue(server, load.ledger, 60_000);
      expect(shown).toEqual(expect.any(Number));
      await expect.poll(() => firstAfter(load.ledger.creates, back)).toBeDefined();
      await expect.poll(() => firstAfter(load.ledger.uploads, back)).toBeDefined();
      await load.stop();
    } finally {
      await load.abort();
      watch.stop();
    }
    const { creates, execs, uploads, refusals } = load.ledger;
    console.log({
      creates: creates.length,
      execs: execs.length,
      uploads: uploads.length,
      refusals,
      streams: load.streams.map((one) => one.figures),
    });
    expect(await contradictions(server, load.ledger, () => watch.owners())).toEqual([]);
    expect(watch.violations).toEqual([]);
    expect(watch.looks).toBeGreaterThan(5);
    // And the checks see what is not so: a box that vanished, and one that is another.
    const [lost, changed] = load.ledger.live;
    if (lost === undefined || changed === undefined) throw new Error("no sandboxes");
    await server.json("DELETE", `/sandboxes/${lost.id}`);
    await server.json("POST", `/sandboxes/${changed.id}/exec`, { command: "echo other > /home/user/marker" });
    const seen = await contradictions(server, load.ledger, () => new Map([...watch.owners(), [changed.id, ["local", "w2"]]]));
    expect(seen).toEqual([
      expect.stringContaining(`${lost.id} does not answer: sandbox_destroyed`),
      expect.stringContaining(`${lost.id} is of local, and is run by nobody`),
      expect.stringContaining(`${changed.id} has lost its marker`),
      expect.stringContaining(`${changed.id} is of local, and is run by local and w2`),
    ]);
  });
});
