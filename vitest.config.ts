import { defineConfig } from "vitest/config";

const conditions = ["@caisson/source", "node"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "tests/**/*.test.ts"],
    // `npm run test:long` runs the long ones too.
    exclude: ["**/node_modules/**", "**/dist/**", ...(process.env.LONG_TESTS === undefined ? ["**/*.long.test.ts"] : [])],
    testTimeout: process.env.LONG_TESTS === undefined ? 60_000 : 600_000,
    hookTimeout: 120_000,
    // A deadline, not a measure: gVisor on a busy machine needs seconds for what takes milliseconds elsewhere.
    expect: { poll: { timeout: 20_000 } },
    maxWorkers: 2,
  },
});
