// What nvcc makes of the kernels: registers, shared memory and spills of each, as ptxas tells them.

import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join, sep } from "node:path";

/** Registers that a processor has for its threads. */
const REGISTERS = 65_536;
/** Threads that a processor must have registers for: two of the largest blocks, as in kernel.cuh. */
const MOST_THREADS = 512;
/** Most bytes of a block's shared memory that is declared in a kernel. */
const MOST_SHARED = 49_152;

/** The kernels that ptxas tells of: name, registers, bytes of shared memory, of spilled values and of a stack. */
export function kernels(log) {
  const parts = log.split(/^(?=ptxas info\s+: Compiling entry function)/m).filter((text) => text.includes("entry function"));
  return parts.map((text) => {
    const number = (pattern) => Number(pattern.exec(text)?.[1] ?? 0);
    return {
      name: /entry function '(\w+)'/.exec(text)?.[1],
      registers: number(/Used (\d+) registers/),
      shared: number(/(\d+) bytes smem/),
      spilled: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
      stack: number(/(\d+) bytes stack frame/),
    };
  });
}

/** What must not be: values that have no register, blocks that no processor has room for. */
export function faults(found) {
  return found.flatMap(({ name, registers, shared, spilled, stack }) => [
    ...(spilled > 0 || stack > 0 ? [`${name}: expected no spills and no stack, got ${spilled} and ${stack} bytes`] : []),
    ...(registers * MOST_THREADS > REGISTERS ? [`${name}: expected at most ${REGISTERS / MOST_THREADS} registers, got ${registers}`] : []),
    ...(shared > MOST_SHARED ? [`${name}: expected at most ${MOST_SHARED} bytes of shared memory, got ${shared}`] : []),
  ]);
}

/** Compiles the kernels of `source` (crates/resnet-ops/src) for a compute capability, with `folder` to write in; returns ptxas's words. */
export function compile(nvcc, source, folder, capability) {
  mkdirSync(folder, { recursive: true });
  const sources = readdirSync(source, { recursive: true }).map((path) => path.replaceAll(sep, "/"));
  const ops = sources.filter((path) => path.endsWith(".cu") && path !== "cuda/kernels.cu").toSorted();
  writeFileSync(join(folder, "every_op.cuh"), ops.map((path) => `#include "${path}"\n`).join(""));
  const words = ["-cubin", `-arch=sm_${capability}`, "-O3", "-std=c++17", "-I", source, "-I", folder, "-Xptxas", "-v"];
  const { status, stdout, stderr, error } = spawnSync(nvcc, [...words, join(source, "cuda/kernels.cu"), "-o", join(folder, `${capability}.cubin`)], { encoding: "utf8" });
  if (status !== 0) throw new Error(error?.message ?? `${nvcc}: exit code ${status}\n${stdout}${stderr}`);
  return stdout + stderr;
}
