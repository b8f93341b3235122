// What every result is given with: the machine and the versions; and where results go.

import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Variables that choose kernels, ours and the peers'. */
const KERNELS = ["RESNET_NATIVE_ISA", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"];

/** The processor and its memory, how busy it is, Node and the package. */
export async function machine() {
  const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    instructionSet: await instructionSet(),
    environment: Object.fromEntries(KERNELS.filter((name) => process.env[name]).map((name) => [name, process.env[name]])),
    memoryBytes: totalmem(),
    loadAverages: loadavg(),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    "resnet-native": version,
    commit: commit(),
  };
}

/** What the kernels choose on this machine. */
async function instructionSet() {
  const forced = process.env["RESNET_NATIVE_ISA"];
  if (forced) return forced;
  if (arch() === "arm64") return "neon";
  const info = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const has = (...flags) => flags.every((flag) => new RegExp(`^flags.*\\b${flag}\\b`, "m").test(info));
  if (has("avx512f", "avx512bw", "avx512dq", "avx512vl")) return "avx512";
  return has("avx2", "fma") ? "avx2" : "portable";
}

function commit() {
  try {
    const described = execFileSync("git", ["describe", "--always", "--dirty"], { cwd: root, stdio: ["ignore", "pipe", "ignore"] });
    return described.toString().trim();
  } catch {
    return "unknown";
  }
}

/** Writes a result to out/bench/NAME-TIME.json; returns the path. */
export async function save(name, result) {
  const folder = new URL("../out/bench/", import.meta.url);
  await mkdir(folder, { recursive: true });
  const time = new Date().toISOString();
  const file = new URL(`${name}-${time.replaceAll(/[:.]/g, "-")}.json`, folder);
  const command = ["npm run bench --", ...process.argv.slice(2)].join(" ");
  await writeFile(file, `${JSON.stringify({ time, command, ...result }, undefined, 2)}\n`);
  return fileURLToPath(file);
}

/** The middle value. */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Mean and standard deviation of some numbers, as text; of one number that alone. */
export function meanAndDeviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  if (values.length === 1) return mean.toFixed(2);
  return `${mean.toFixed(2)} ± ${Math.sqrt(squares / Math.max(1, values.length - 1)).toFixed(2)}`;
}
