// What the compiler made of the kernels for NEON: the hot loops multiply and add in one instruction, keep their sums in registers and call
// nothing. Read from a disassembly, as no timing of an emulator would tell.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/**
 * The kernels whose loops take a network's time: least multiply-adds of the longest loop, each of which is of a register of four, and the
 * least share of them among the instructions of that loop.
 */
const HOT = [
  { name: "conv2d::cpu::direct::tile::run", fused: 24, share: 0.6 },
  { name: "conv2d::cpu::direct::weights::patch_tiles", fused: 24, share: 0.6 },
  { name: "conv2d::cpu::winograd::gemm::output", fused: 48, share: 0.6 },
  { name: "conv2d::cpu::winograd::gemm::weights", fused: 24, share: 0.6 },
  { name: "conv2d::cpu::grouped::tile::compute", fused: 36, share: 0.4 },
  { name: "conv2d::cpu::grouped::weights::add_images", fused: 24, share: 0.5 },
  { name: "matrix::dots", fused: 16, share: 0.5 },
  { name: "matrix::sum_rows", fused: 16, share: 0.4 },
];
/** Kernels of straight code between loops: multiply-adds of the whole function. */
const STRAIGHT = ["source", "target", "gradient"].map((name) => ({ name: `conv2d::cpu::winograd::tiles::${name}`, fused: 100 }));
/** A loop of fewer multiply-adds is not a hot one. */
const FEWEST = 12;

/** Reads the functions of that name's ending from a disassembly, as it comes: name, instructions with address and text. */
export async function functions(objdump, file, ending) {
  const child = spawn(objdump, ["-d", "-C", "--no-show-raw-insn", file], { stdio: ["ignore", "pipe", "ignore"] });
  const found = [];
  let current;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.endsWith(">:")) {
      const name = /<(.*)>:$/.exec(line)[1].replace(/::h[0-9a-f]{16}$/, "");
      current = ending.test(name) ? { name, instructions: [] } : undefined;
      if (current) found.push(current);
    } else if (current) {
      const parts = /^\s*([0-9a-f]+):\s+(.*)$/.exec(line);
      if (parts) current.instructions.push({ address: Number.parseInt(parts[1], 16), text: parts[2] });
    }
  }
  return found;
}

/** The innermost loops: from the target of a branch back to the branch. */
export function innermost(instructions) {
  const back = instructions.flatMap(({ address, text }) => {
    const target = /^(?:b(?:\.\w+)?|cbn?z|tbn?z)\s.*?\b([0-9a-f]+) </.exec(text)?.[1];
    const start = target === undefined ? Number.NaN : Number.parseInt(target, 16);
    return start <= address && start >= instructions[0].address ? [{ start, end: address }] : [];
  });
  const inner = back.filter((loop) => !back.some((other) => other !== loop && other.start >= loop.start && other.end <= loop.end && other.end - other.start < loop.end - loop.start));
  return inner.map(({ start, end }) => instructions.filter(({ address }) => address >= start && address <= end).map(({ text }) => text));
}

/** What is told of a run of instructions. */
export function counted(texts) {
  const count = (pattern) => texts.filter((text) => pattern.test(text)).length;
  return {
    length: texts.length,
    fused: count(/^fml[as]\s+v\d+\.4s/),
    apart: count(/^fmul\s+v\d+\.4s/),
    // Addresses and counts may lie there.
    stack: count(/^(?:ld|st)\w+\s+\{?[dqsv]\d.*\[(?:sp|x29)\b/),
    branches: count(/^(?:b(?:\.\w+)?|cbn?z|tbn?z)\s/),
    // Tests are built with overflow checks.
    calls: count(/^blr?\s(?!.*panic)/),
  };
}

/** What is not as it must be, and a line for each hot kernel. */
export function looked(found) {
  const [broken, lines] = [[], []];
  const texts = ({ instructions }) => instructions.map(({ text }) => text);
  for (const kernel of found) {
    if (texts(kernel).some((text) => /<fmaf?(?:@plt)?>/.test(text))) broken.push(`${kernel.name}: calls fmaf`);
  }
  const named = (name) => found.filter((kernel) => kernel.name.includes(`${name}::neon`));
  for (const { name, fused } of STRAIGHT) {
    const most = Math.max(0, ...named(name).map((kernel) => counted(texts(kernel)).fused));
    lines.push(`${name}: ${most} multiply-adds`);
    if (most < fused) broken.push(`${name}: expected ${fused} multiply-adds or more, got ${most}`);
  }
  for (const { name, fused, share } of HOT) {
    const every = named(name).flatMap((kernel) => innermost(kernel.instructions).map(counted)).filter((loop) => loop.fused >= FEWEST);
    // What lies between others' blocks may seem to be a loop.
    const straight = every.filter((loop) => loop.branches === 1);
    const loops = straight.length > 0 ? straight : every;
    const longest = loops.toSorted((a, b) => b.fused - a.fused)[0];
    if (!longest) {
      broken.push(`${name}: expected a loop of ${fused} multiply-adds, got none`);
      continue;
    }
    const stack = Math.max(...loops.map((loop) => loop.stack));
    const calls = Math.max(...loops.map((loop) => loop.calls));
    lines.push(`${name}: ${loops.length} loops, the longest ${longest.fused} multiply-adds of ${longest.length} instructions, ${stack} values on the stack`);
    if (longest.fused < fused) broken.push(`${name}: expected a loop of ${fused} multiply-adds or more, got ${longest.fused}`);
    if (longest.fused < share * longest.length) broken.push(`${name}: expected multiply-adds to be ${share} of the instructions, got ${longest.fused} of ${longest.length}`);
    if (stack > 0) broken.push(`${name}: expected all values of a loop in registers, got ${stack} loads and stores of the stack`);
    if (calls > 0) broken.push(`${name}: expected no calls in a loop, got ${calls}`);
  }
  return { broken, lines };
}
