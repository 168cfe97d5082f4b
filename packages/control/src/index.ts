export type * from "./operations.ts";
export type { EventNews } from "./event-follower.ts";
export type { Logger } from "./logger.ts";
export { Orchestrator, type OrchestratorOptions } from "./orchestrator.ts";
export { SteadyClock } from "./steady-clock.ts";
export { controlDefaults, retentionOf, type ControlDefaults } from "./control-defaults.ts";
