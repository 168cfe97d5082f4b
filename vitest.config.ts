import { defineConfig } from "vitest/config";

const conditions = ["@caisson/source", "node", "import"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "tests/**/*.test.ts"],
    // `npm run test:long` runs the long ones too.
    exclude: ["**/node_modules/**", "**/dist/**", ...(process.env.LONG_TESTS === undefined ? ["**/*.long.test.ts"] : [])],
    testTimeout: process.env.LONG_TESTS === undefined ? 30_000 : 600_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
});
