// How near a loop comes to what binds it, by llvm-mca's models of processors: a figure of an emulator's time would tell nothing.

import { spawnSync } from "node:child_process";
import { output } from "../steps.mjs";

/** What is modelled, by LLVM's names. */
export const CORES = ["apple-m1", "neoverse-v1"];
const ITERATIONS = 400;

/** An llvm-mca that has a model of each; Debian's llvm is too old. */
export function modeller() {
  const named = Array.from({ length: 10 }, (_, i) => `llvm-mca-${30 - i}`);
  return [process.env.LLVM_MCA, ...named, "llvm-mca"].find((program) => program && Number(/version (\d+)/.exec(output(program, "--version") ?? "")?.[1]) >= 20);
}

/**
 * What binds a loop: the rate at which a core multiplies and adds, and that of its loads and stores. One that does several things to each value
 * is bound by all that the units for vectors do, copies of registers with it, as `fmla` writes over what it adds to.
 */
export const TILE = [/^fml[as]\s/, /^(?:ld|st|prfm)/];
export const VALUES = [/^(?!ld|st|prfm).*\bv\d|^(?:ld|st|prfm)/];

/** Cycles that a turn of a loop takes on a core whose branches and caches never miss, and the share of them that what binds it takes alone. */
export function modelled(mca, core, texts, binding) {
  const plain = texts.flatMap(assembled);
  const cycles = simulated(mca, core, plain).TotalCycles / ITERATIONS;
  const alone = binding.map((pattern) => plain.filter((text) => pattern.test(text))).filter((some) => some.length > 0);
  return { cycles, share: Math.max(...alone.map((some) => simulated(mca, core, some).BlockRThroughput)) / cycles };
}

function simulated(mca, core, lines) {
  const options = ["-mtriple=aarch64", `-mcpu=${core}`, `-iterations=${ITERATIONS}`, "-json"];
  const { status, stdout, stderr } = spawnSync(mca, options, { input: `${lines.join("\n")}\n`, encoding: "utf8", maxBuffer: 2 ** 28 });
  if (status !== 0) throw new Error(`${mca} -mcpu=${core}: ${stderr}`);
  return JSON.parse(stdout).CodeRegions[0].SummaryView;
}

/** A line of a disassembly as an assembler reads it: addresses of code become a name. */
function assembled(text) {
  const line = text.replace(/\s*\/\/.*$/, "");
  if (/<.*>$/.test(line)) return [line.replace(/\b[0-9a-f]+ <.*>$/, "elsewhere")];
  // A core moves an address on apart from the load or store; the models let the next one wait for both.
  const [, access, base, step] = /^((?:ld|st).*\[(\w+)\]), (#\d+|x\d+)$/.exec(line) ?? [];
  return access ? [access, `add ${base}, ${base}, ${step}`] : [line];
}
