export { ensureHostSkeleton, type HostSkeleton, type HostSkeletonOptions } from "./images/host-skeleton.ts";
