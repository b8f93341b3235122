import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { "resnet-native": fileURLToPath(new URL("ts/index.ts", import.meta.url)) } },
  test: {
    include: ["__test__/**/*.test.ts"],
    pool: "forks",
    // Training uses all cores already.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
