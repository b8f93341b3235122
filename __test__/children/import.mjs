// Counts this process's threads (on Linux) before and after the package is imported.
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";

const count = () => (process.platform === "linux" ? readdirSync("/proc/self/task").length : 0);
// Node's own pool starts with its first work.
await Promise.all(Array.from({ length: 16 }, () => readFile(new URL(import.meta.url))));
const before = count();
await import("../../dist/index.js");
process.stdout.write(String(count() - before));
