/** What addresses of workers look like, in a configuration and in what a worker says of itself. */
export const WORKER_ADDRESSES = {
  /** A domain in lower case. */
  domain: /^(?=.{1,200}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
  /** `http` or `https`, a host and perhaps a port: no path, and no user that would look like the host. */
  httpUrl: /^https?:\/\/[^\s/\\?#@]+\/?$/,
  /** `host:port`, an IPv6 address in brackets, perhaps behind `http://` or `https://`. */
  dial: /^(?:https?:\/\/)?(?:\[[0-9a-fA-F:.]+\]|[^\s:/\\?#@[\]]+):\d{1,5}$/,
} as const satisfies Record<string, RegExp>;
