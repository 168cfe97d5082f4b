// Apart from the schemas, so that a client in a browser need not carry them.

/** The WebSocket subprotocol of `GET /sandboxes/{id}/exec/ws`. */
export const EXEC_PROTOCOL = "caisson.exec.v1";

/** The WebSocket subprotocol of `GET /sandboxes/{id}/ports/{port}/connect`. */
export const TCP_PROTOCOL = "caisson.tcp.v1";
