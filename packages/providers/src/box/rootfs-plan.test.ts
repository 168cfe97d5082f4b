import { isCaissonError } from "@caisson/contract";
import { describe, expect, it } from "vitest";
import { planRootFs } from "./rootfs-plan.ts";

const host = { kind: "host", skeleton: "/images/skeleton" } as const;

describe("the root file system", () => {
  it("of the host image has two layers of the box's own, shifted into its ids", () => {
    expect(planRootFs(host, "id-mapped", "layered").filter((step) => step.kind !== "directory")).toEqual([
      { kind: "overlay", target: "root", lower: ["/images/skeleton"], upper: "layers/root/upper", work: "layers/root/work", idMap: true },
      { kind: "overlay", target: "root/usr", lower: ["/usr"], upper: "layers/usr/upper", work: "layers/usr/work", idMap: true },
    ]);
  });

  it("leaves /usr read-only where it cannot be shifted, and for a plain user", () => {
    const usr = { kind: "bind", source: "/usr", target: "root/usr", readOnly: true, idMap: false };
    expect(planRootFs(host, "id-mapped", "read-only")).toContainEqual(usr);
    expect(planRootFs(host, "own", "read-only")).toContainEqual(usr);
  });

  it("of an image of the machine's root is refused to a plain user", () => {
    const image = { kind: "folder", path: "/images/1", owner: "root" } as const;
    expect(() => planRootFs(image, "own", "read-only")).toThrow(expect.toSatisfy((error) => isCaissonError(error, "unsupported")) as Error);
    expect(planRootFs({ ...image, owner: "self" }, "own", "read-only")[0]).toMatchObject({ kind: "overlay", idMap: false });
  });
});
