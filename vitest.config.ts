import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { "resnet-native": fileURLToPath(new URL("ts/index.ts", import.meta.url)) } },
  test: {
    include: ["__test__/**/*.test.ts"],
    pool: "forks",
    // What tests change in a process they put back: one that goes through file after file imports the package once.
    isolate: false,
    // Training uses more cores already, and a file waits for the programs that it starts.
    maxWorkers: 2,
    // They end what hangs; a slow machine decides no test.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 120_000 } },
  },
});
