import { readFileSync } from "node:fs";

/** How control groups are mounted on this machine. */
export interface CgroupLayout {
  /** `hybrid`: controllers on v1, and a v2 hierarchy beside them without controllers of use. */
  readonly kind: "v1" | "v2" | "hybrid" | "none";
  /** Mount point of each v1 controller. */
  readonly controllers: Readonly<Record<string, string>>;
  /** Mount points of all v1 hierarchies, the named ones included. */
  readonly v1Mounts: readonly string[];
  /** Mount point of the v2 hierarchy. */
  readonly v2Mount: string | null;
}

/** Controllers that limits are made with. Where none of them is on v1, a v1 mount of another one (a VPN's net_cls) is of no matter. */
const LIMITING = ["memory", "cpu", "pids"];
const V1_FLAGS = new Set(["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods"]);

/** Reads the layout from the text of `/proc/self/mountinfo`. */
export function parseCgroupLayout(mountinfo: string): CgroupLayout {
  const controllers: Record<string, string> = {};
  const v1Mounts: string[] = [];
  let v2Mount: string | null = null;
  for (const line of mountinfo.split("\n")) {
    const [before, after] = line.split(" - ");
    const mountPoint = before?.split(" ")[4];
    const [type, , options] = after?.split(" ") ?? [];
    if (mountPoint === undefined || type === undefined) continue;
    if (type === "cgroup2") v2Mount ??= mountPoint;
    if (type !== "cgroup") continue;
    v1Mounts.push(mountPoint);
    for (const option of options?.split(",") ?? []) {
      if (!V1_FLAGS.has(option) && !option.includes("=")) controllers[option] ??= mountPoint;
    }
  }
  const limitsByV1 = LIMITING.some((controller) => controllers[controller] !== undefined);
  const withoutV2 = Object.keys(controllers).length > 0 ? "v1" : "none";
  const kind = v2Mount === null ? withoutV2 : limitsByV1 ? "hybrid" : "v2";
  return { kind, controllers, v1Mounts, v2Mount };
}

/** The layout of this machine. */
export function detectCgroupLayout(): CgroupLayout {
  return parseCgroupLayout(readFileSync("/proc/self/mountinfo", "utf8"));
}
