import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { archiveCases } from "./conformance/archives.ts";
import { attributeCases } from "./conformance/attributes.ts";
import { fileCases } from "./conformance/files.ts";
import { isRequired, type ConformanceOptions } from "./conformance/harness.ts";
import { isolationCases } from "./conformance/isolation.ts";
import { lifecycleCases } from "./conformance/lifecycle.ts";
import { limitCases } from "./conformance/limits.ts";
import { portCases } from "./conformance/ports.ts";
import { processCases } from "./conformance/processes.ts";
import { searchCases } from "./conformance/search.ts";
import { Subject } from "./conformance/subject.ts";
import { treeCases } from "./conformance/trees.ts";
import { uploadCases } from "./conformance/uploads.ts";
import { waitingCases } from "./conformance/waiting.ts";
import { watchCases } from "./conformance/watches.ts";

export type { ConformanceHarness, ConformanceOptions } from "./conformance/harness.ts";

/**
 * What every provider must do, as a vitest suite. Cases that a provider cannot have are skipped by its own report
 * (capabilities and tier), with the reason. A provider that does not work here skips the whole run, and says why, unless
 * `REQUIRE_PROVIDERS` (comma separated) names it.
 */
export async function providerConformance(options: ConformanceOptions): Promise<void> {
  const made = await prepare(options);
  if (typeof made === "string") reportMissing(options, made);
  else runSuite(options.name, made);
}

function reportMissing(options: ConformanceOptions, reason: string): void {
  const required = options.required ?? isRequired(options.name);
  describe(`conformance of ${options.name}`, () => {
    it("works on this machine", (context) => {
      context.skip(!required, reason);
      expect.unreachable(reason);
    });
  });
}

function runSuite(name: string, made: Subject): void {
  describe(`conformance of ${name}`, { timeout: 180_000 }, () => {
    let before: readonly string[] = [];
    const get = (): Subject => made;

    beforeAll(async () => {
      before = await made.harness.leftovers();
    });

    afterAll(async () => {
      await made.cleanUp();
      await made.harness.dispose();
    });

    it("reports what it can do", () => {
      expect(made.report).toMatchObject({ name: made.provider.name, tier: made.provider.tier, available: true });
    });
    processCases(get);
    waitingCases(get);
    treeCases(get);
    fileCases(get);
    attributeCases(get);
    uploadCases(get);
    archiveCases(get);
    searchCases(get);
    watchCases(get);
    portCases(get);
    lifecycleCases(get);
    limitCases(get);
    isolationCases(get);

    it("leaves nothing behind", async () => {
      await made.cleanUp();
      expect(await made.provider.list()).toEqual([]);
      await expect.poll(() => made.harness.leftovers()).toEqual(before);
    });
  });
}

/** The subject, or why there is none. */
async function prepare(options: ConformanceOptions): Promise<Subject | string> {
  try {
    const harness = await options.make();
    const report = await harness.provider.probe();
    const runtime = report.runtimes.find((candidate) => candidate.name === harness.runtime);
    if (report.available && (harness.runtime === undefined || runtime?.available === true)) return new Subject(harness, report);
    await harness.dispose();
    return runtime?.reason ?? report.reason ?? "its probe gives no reason";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
