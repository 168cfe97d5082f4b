import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The least root file system that an agent starts in, for a trial boot. */
export function makeTrialSkeleton(path: string): void {
  for (const folder of ["etc", "usr", "proc", "dev", "run", "tmp", "home/user"])
    mkdirSync(join(path, folder), { recursive: true, mode: 0o755 });
  for (const link of ["bin", "sbin", "lib", "lib64"]) if (existsSync(`/usr/${link}`)) symlinkSync(`usr/${link}`, join(path, link));
  writeFileSync(join(path, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
  writeFileSync(join(path, "etc/group"), "root:x:0:\nuser:x:1000:\n");
}
