import { systemClock, type Image, type ImageHost, type SandboxHost } from "@caisson/contract";
import { openSqlite, type Store } from "@caisson/store";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ConnectedHosts } from "./hosts.ts";
import { WorkerImages } from "./worker-images.ts";

const logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** A worker of which only its images are asked. */
function worker(workerId: string, names: string[]): SandboxHost {
  const image = (name: string): Image => ({
    name,
    digest: `sha256:${name}`,
    source: "registry",
    size_bytes: 1,
    created_at: "2027-01-15T08:00:00.000Z",
    sandboxes: 0,
    user: null,
    workdir: null,
  });
  const images: ImageHost = {
    list: async () => names.map(image),
    pull: async (reference) => {
      if (!names.includes(reference)) names.push(reference);
      return image(reference);
    },
    importArchive: async (name) => {
      names.push(name);
      return image(name);
    },
    remove: async (name) => void names.splice(names.indexOf(name), 1),
  };
  return { workerId, images } as unknown as SandboxHost;
}

let store: Store;
let hosts: ConnectedHosts;
let images: WorkerImages;
beforeEach(async () => {
  store = await openSqlite({ path: ":memory:", clock: systemClock });
  hosts = new ConnectedHosts();
  images = new WorkerImages({ hosts, store, clock: systemClock, logger });
  hosts.add(worker("b", ["two"]));
});
afterEach(() => store[Symbol.asyncDispose]());

const listed = async (workerId?: string): Promise<string[]> =>
  (await images.list(workerId === undefined ? {} : { workerId })).map((one) => `${one.worker_id}/${one.name}`);

it("lists the images of all workers that can be asked, or of one", async () => {
  hosts.add(worker("a", ["one"]));
  expect(await listed()).toEqual(["a/one", "b/two"]);
  expect(await listed("b")).toEqual(["b/two"]);
  await expect(listed("c")).rejects.toMatchObject({ code: "worker_unavailable", detail: { worker_id: "c" } });
});

it("changes the images of the only worker, and of none of several that is not named", async () => {
  expect(await images.pull("new")).toMatchObject({ worker_id: "b", name: "new" });
  hosts.add(worker("a", ["one"]));
  for (const change of [() => images.pull("x"), () => images.importArchive("x", (async function* () {})()), () => images.remove("two")])
    await expect(change()).rejects.toMatchObject({
      code: "invalid_request",
      errors: [{ path: "worker_id" }],
      message: expect.stringContaining("a, b"),
    });
  expect(await listed()).toEqual(["a/one", "b/two", "b/new"]);
  await images.remove("one", { workerId: "a" });
  await images.importArchive("mine", (async function* () {})(), { workerId: "a" });
  expect(await listed("a")).toEqual(["a/mine"]);
});

it("tells of changes with the worker, and of nothing that was there", async () => {
  await images.pull("two");
  await images.pull("new");
  await images.remove("new");
  expect((await store.events.after(0, 10)).map(({ type, resource_id, data }) => [type, resource_id, data["worker_id"]])).toEqual([
    ["image.pulled", "new", "b"],
    ["image.removed", "new", "b"],
  ]);
});
