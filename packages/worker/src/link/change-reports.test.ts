import { CaissonError, type Report } from "@caisson/contract";
import { expect, it } from "vitest";
import { ChangeReports } from "./change-reports.ts";

/** A control plane that answers when the test says. */
class Plane {
  readonly heard: { readonly said: Report; readonly answer: (error?: CaissonError) => void }[] = [];
  readonly control = {
    report: (said: Report): Promise<void> =>
      new Promise((resolve, reject) => this.heard.push({ said, answer: (error) => (error === undefined ? resolve() : reject(error)) })),
  };

  get ids(): readonly string[] {
    return this.heard.map(({ said }) => said.sandbox_id);
  }
}

const ref = (sandboxId: string): { sandboxId: string; epoch: number } => ({ sandboxId, epoch: 1 });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
function reports(...up: Plane[]): ChangeReports {
  const told = new ChangeReports(() => undefined);
  told.planes = { up };
  return told;
}

it("tells a few at a time, and of one sandbox again only when the answer before is there", async () => {
  const plane = new Plane();
  const told = reports(plane);
  for (const id of ["a", "b", "c", "d", "e", "a", "a"]) told.tell(ref(id));
  expect(plane.ids).toEqual(["a", "b", "c", "d"]);
  plane.heard[1]?.answer();
  await turn();
  expect(plane.ids).toEqual(["a", "b", "c", "d", "e"]);
  plane.heard[0]?.answer();
  await turn();
  expect(plane.ids).toEqual(["a", "b", "c", "d", "e", "a"]);
  for (const { answer } of plane.heard) answer();
  await turn();
  // What happened twice meanwhile is one thing to ask about.
  expect(plane.ids).toHaveLength(6);
});

it("goes on to another control plane where one cannot be told, and not where it is none of the worker's", async () => {
  const [one, two] = [new Plane(), new Plane()];
  const told = reports(one, two);
  told.tell(ref("a"));
  one.heard[0]?.answer(new CaissonError("server_unreachable", "gone"));
  await turn();
  expect(two.ids).toEqual(["a"]);
  told.tell(ref("b"));
  one.heard[1]?.answer(new CaissonError("forbidden", "not yours"));
  await turn();
  expect(two.ids).toEqual(["a"]);
});

it("drops what nobody is there to hear, and what is more than it keeps", async () => {
  reports().tell(ref("a"));
  const plane = new Plane();
  const told = reports(plane);
  for (let index = 0; index < 5_000; index += 1) told.tell(ref(String(index)));
  for (let done = 0; done < plane.heard.length; done += 1) {
    plane.heard[done]?.answer();
    await turn();
  }
  expect(plane.heard).toHaveLength(4 + 4_096);
});
