import { describe, expect, it } from "vitest";
import { parseCgroupLayout } from "./layout.ts";

const V1 = `24 1 0:21 / /sys/fs/cgroup rw - tmpfs tmpfs rw
25 24 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
26 24 0:23 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
27 24 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd`;
const V2 = "30 29 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";

describe("the layout of control groups", () => {
  it("knows v1, with controllers mounted together", () => {
    const layout = parseCgroupLayout(V1);
    expect(layout).toMatchObject({ kind: "v1", v2Mount: null });
    expect(layout.controllers).toEqual({
      cpu: "/sys/fs/cgroup/cpu,cpuacct",
      cpuacct: "/sys/fs/cgroup/cpu,cpuacct",
      memory: "/sys/fs/cgroup/memory",
    });
    expect(layout.v1Mounts).toHaveLength(3);
  });

  it("knows v2, hybrid, and none", () => {
    expect(parseCgroupLayout(V2)).toMatchObject({ kind: "v2", v2Mount: "/sys/fs/cgroup", v1Mounts: [] });
    expect(parseCgroupLayout(`${V1}\n31 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw`)).toMatchObject({
      kind: "hybrid",
      v2Mount: "/sys/fs/cgroup/unified",
    });
    expect(parseCgroupLayout(`${V2}\n31 30 0:30 / /sys/fs/cgroup/net_cls rw - cgroup net_cls rw,net_cls`)).toMatchObject({ kind: "v2" });
    expect(parseCgroupLayout("1 0 254:0 / / rw - ext4 /dev/vda rw")).toMatchObject({ kind: "none" });
  });
});
