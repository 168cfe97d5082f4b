export { LocalHost, type LocalHostOptions } from "./host/local-host.ts";
export type { GuestRoute, RouteFactory } from "./host/guest-routes.ts";
export type { HostDeadlines } from "./host/host-parts.ts";
export { HOST_IMAGE, ImageStore, type ImageStoreOptions, type ResolvedImage } from "./images/image-store.ts";
export { type ArchiveLimits } from "./images/unpack-archive.ts";
export { type PullPrograms } from "./images/image-pull.ts";
export { ensureHostSkeleton, type HostSkeleton, type HostSkeletonOptions } from "./images/host-skeleton.ts";
