import { Violation } from "./simulation.ts";

/** Lines of a failing run that are shown. */
const SHOWN = 200;

/** Plays a world to its end; what it violated, undefined when it kept everything. */
export async function violationOf(
  world: { play(): Promise<void>; close(): void },
  options: { readonly recording?: boolean },
): Promise<Violation | undefined> {
  // Stacks of errors that nobody reads take a tenth of the time.
  const { stackTraceLimit } = Error;
  if (options.recording !== true) Error.stackTraceLimit = 0;
  try {
    await world.play();
    return undefined;
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    return error;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    world.close();
  }
}

/** A failing run once more, this time with all that happened in it. `folder` has the test that replays it. */
export async function explain(
  seed: number,
  violation: Violation,
  folder: string,
  play: (seed: number, options: { readonly recording: true }) => Promise<{ readonly trace: readonly string[] }>,
): Promise<string> {
  const { trace } = await play(seed, { recording: true });
  const cut = trace.length > SHOWN ? [`… ${trace.length - SHOWN} lines before`] : [];
  return [`seed ${seed}: ${violation.message}`, `replay: SIM_SEED=${seed} npx vitest run ${folder}`, ...cut, ...trace.slice(-SHOWN)].join(
    "\n",
  );
}
