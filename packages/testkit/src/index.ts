export { VirtualClock } from "./virtual-clock.ts";
export { freePort } from "./free-port.ts";
export { fuzzPlan, SeededRandom } from "./seeded-random.ts";
export { chaosPair, type ChaosOptions } from "./chaos-pair.ts";
export { agentBinary, AgentProcess } from "./agent-process.ts";
export { ask, begin, sendRaw, type Answered, type Asked } from "./http-exchange.ts";
export { TestPostgres, type TestPostgresOptions } from "./test-postgres.ts";
