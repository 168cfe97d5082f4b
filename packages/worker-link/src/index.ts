export { RemoteHost } from "./remote-host.ts";
export { serveHost, type ServeHostOptions } from "./serve-host.ts";
export { ControlClient, type ControlCalls } from "./control-client.ts";
export { serveControl } from "./serve-control.ts";
export { workerLinkOptions } from "./worker-link-options.ts";
export { dialLink, type DialLink, type Dialled, type LinkAnswerHeaders } from "./dial-link.ts";
export { isLinkUpgrade, readLinkRequest, refuseLink, switchToLink, type LinkRequest } from "./link-upgrade.ts";
