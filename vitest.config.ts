import { defineConfig } from "vitest/config";

const conditions = ["@caisson/source", "node"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "tests/**/*.test.ts"],
    // `npm run test:long` runs the long ones too.
    exclude: ["**/node_modules/**", "**/dist/**", ...(process.env.LONG_TESTS === undefined ? ["**/*.long.test.ts"] : [])],
    // Deadlines, not measures: gVisor on a busy machine needs seconds for what takes milliseconds elsewhere.
    testTimeout: process.env.LONG_TESTS === undefined ? 180_000 : 600_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 60_000 } },
    maxWorkers: 2,
  },
});
