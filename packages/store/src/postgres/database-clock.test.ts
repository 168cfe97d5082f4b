import { VirtualClock } from "@caisson/testkit";
import { expect, it } from "vitest";
import { DatabaseClock } from "./database-clock.ts";

const BEGIN = Date.UTC(2030, 0, 1);

/** A process whose own clock is an hour wrong, and a database that answers after a round trip. */
async function begin(): Promise<{ local: VirtualClock; clock: DatabaseClock; database: { offset: number; roundTrip: number } }> {
  const local = new VirtualClock(BEGIN - 3_600_000);
  const database = { offset: BEGIN, roundTrip: 0 };
  const clock = await DatabaseClock.start(local, async () => {
    if (database.roundTrip < 0) throw new Error("away");
    const told = database.offset + local.monotonic();
    if (database.roundTrip > 0) await local.sleep(database.roundTrip);
    return told;
  });
  return { local, clock, database };
}

it("is the database's time, not this machine's", async () => {
  const { local, clock } = await begin();
  expect(clock.now()).toBe(BEGIN);
  await local.advance(5_000);
  expect(clock.now()).toBe(BEGIN + 5_000);
  clock.stop();
});

it("follows what the database says, and goes back for more than a second only", async () => {
  const { local, clock, database } = await begin();
  database.offset += 700;
  await local.advance(10_000);
  expect(clock.now()).toBe(BEGIN + 10_700);
  database.offset -= 700;
  await local.advance(10_000);
  const held = clock.now();
  expect(held).toBeGreaterThanOrEqual(BEGIN + 10_700);
  await local.advance(5_000);
  expect(clock.now()).toBe(BEGIN + 25_000);
  database.offset -= 60_000;
  await local.advance(5_000);
  expect(clock.now()).toBe(BEGIN + 30_000 - 60_000);
  clock.stop();
});

it("stands still while it is a little ahead", async () => {
  const { local, clock, database } = await begin();
  await local.advance(9_999);
  expect(clock.now()).toBe(BEGIN + 9_999);
  database.offset -= 500;
  await local.advance(1);
  expect(clock.now()).toBe(BEGIN + 9_999);
  await local.advance(400);
  expect(clock.now()).toBe(BEGIN + 9_999);
  await local.advance(600);
  expect(clock.now()).toBe(BEGIN + 10_500);
  clock.stop();
});

it("changes nothing for what the round trip may explain, and runs on while the database is away", async () => {
  const { local, clock, database } = await begin();
  database.roundTrip = 400;
  await local.advance(10_400);
  expect(clock.now()).toBe(BEGIN + 10_400);
  database.roundTrip = -1;
  await local.advance(60_000);
  expect(clock.now()).toBe(BEGIN + 70_400);
  database.roundTrip = 0;
  database.offset += 5_000;
  await local.advance(10_000);
  expect(clock.now()).toBe(BEGIN + 85_400);
  clock.stop();
});
