export { main } from "./main.ts";
export { openWorker, type OpenWorker } from "./worker/open-worker.ts";
