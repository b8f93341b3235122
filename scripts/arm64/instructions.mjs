// Functions, their loops and what these do, read from a disassembly: no timing of an emulator would tell.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

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
    // Addresses and counts may lie there.
    stack: count(/^(?:ld|st)\w+\s+\{?[dqsv]\d.*\[(?:sp|x29)\b/),
    branches: count(/^(?:b(?:\.\w+)?|cbn?z|tbn?z)\s/),
    // Tests are built with overflow checks.
    calls: count(/^blr?\s(?!.*panic)/),
  };
}
