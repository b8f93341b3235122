import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const child = (name: string) => fileURLToPath(new URL(`children/${name}`, import.meta.url));
const dist = fileURLToPath(new URL("../dist/index.js", import.meta.url));
const run = async (name: string, env: Record<string, string> = {}) => {
  return promisify(execFile)(process.execPath, [child(name)], { timeout: 200_000, env: { ...process.env, ...env } });
};

async function whenRunning(): Promise<ChildProcess> {
  const fit = spawn(process.execPath, [child("fit.mjs")], { stdio: ["ignore", "pipe", "inherit"] });
  await once(fit.stdout, "data");
  return fit;
}

test("the addon loads in workers, and survives their end in the middle of a fit", async () => {
  const { stdout, stderr } = await run("workers.mjs");
  expect(JSON.parse(stdout)).toEqual({ messages: ["running", 3], code: 0, shape: [1, 3, 6, 6] });
  expect(stderr).toBe("");
});

test("a pending fit keeps the process; resting models do not", async () => {
  expect(await run("fit.mjs", { EPOCHS: "5" })).toEqual({ stdout: "running\n5 epochs\n", stderr: "" });
  expect(await run("idle.mjs")).toEqual({ stdout: "idle", stderr: "" });
});

test("a signal ends the process in the middle of a fit", async () => {
  const fit = await whenRunning();
  fit.kill("SIGINT");
  expect(await once(fit, "exit")).toEqual([null, "SIGINT"]);
});

test("process.exit in the middle of a fit gives its code", async () => {
  const script = `import("${child("fit.mjs")}"); setTimeout(() => process.exit(7), 500);`;
  const codes = [0, 1, 2].map(async () => once(spawn(process.execPath, ["-e", script], { stdio: "ignore" }), "exit"));
  expect(await Promise.all(codes)).toEqual([
    [7, null],
    [7, null],
    [7, null],
  ]);
});

test("a failure that nobody hears of is reported, any other is not", async () => {
  const { stdout, stderr } = await run("unhandled.mjs");
  expect(stdout).toBe('iterated ["ignored","left"]');
  expect(stderr).toBe("");
});

// Only root can run a process as a user of whom there is no other, and limits do not hold for root itself.
test.skipIf(process.getuid?.() !== 0)("a model that got no thread gets one later", async ({ skip }) => {
  const as = { uid: 54_321, gid: 54_321, timeout: 200_000 };
  const readable = await promisify(execFile)("cat", [child("threads.mjs"), dist], as).then(() => true, () => false);
  skip(!readable, "another user cannot read this folder");
  // Shells differ in the limit's letter.
  const limited = `ulimit -u 40 2>/dev/null || ulimit -p 40; exec "$0" "$1"`;
  const { stdout } = await promisify(execFile)("sh", ["-c", limited, process.execPath, child("threads.mjs")], as);
  expect(JSON.parse(stdout)).toEqual({ first: ["ERR_NO_THREAD", "served"], second: ["served"] });
});

test("what there is no memory for is an error, and the process lives", async ({ skip }) => {
  const { stdout } = await run("memory.mjs");
  skip(stdout === "no prlimit", "nothing here limits the memory of a process");
  const { gradients, save, small, decode, ...others } = JSON.parse(stdout) as Record<string, string>;
  expect({ gradients, save, small, decode }).toEqual({ gradients: "done", save: "done", small: "done", decode: "ERR_OUT_OF_MEMORY" });
  // A thread, too, takes memory.
  const codes = new Set(["ERR_OUT_OF_MEMORY", "ERR_NO_THREAD"]);
  expect(Object.entries(others).filter(([, code]) => !codes.has(code))).toEqual([]);
});

test("models that nobody disposes of are collected before they fill the memory", async () => {
  const { stdout } = await run("undisposed.mjs");
  // Measured: 2; when the collector knows nothing of weights, as many as there are: 12.
  expect(Number(stdout)).toBeLessThan(8);
});

test("data sets that are dropped do not pile up", async () => {
  const { stdout } = await run("data-sets.mjs");
  // Measured: 10; when the collector knows nothing of images, as many as there are: 60.
  expect(Number(stdout)).toBeLessThan(30);
});

test("import starts no thread", async () => {
  expect(await run("import.mjs")).toEqual({ stdout: "0", stderr: "" });
});

test("import reads one file, and loads neither cryptography nor compression", async () => {
  expect(await readFile(dist, "utf8")).not.toMatch(/^(import|export)\b.*["']\.\.?\//m);
  const loaded = async (program: string) => {
    const script = `${program}; console.log(process.moduleLoadList.join("\\n"))`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
    return stdout.split("\n").filter((name) => /NativeModule (node:)?(crypto|zlib|https?|worker_threads|child_process)$/.test(name));
  };
  // In Node 22 its own module util loads workers.
  expect(await loaded(`await import(${JSON.stringify(pathToFileURL(dist))})`)).toEqual(await loaded("await import('node:util')"));
});

test("require() works", async () => {
  expect((await run("require.cjs")).stdout).toBe("11178378");
});
