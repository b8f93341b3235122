// npm run bench -- layers: GF/s of the CPU convolution kernels on each layer of ResNet-18 at 1x96x96, batch 128.
// Options (--threads N --batch N --runs N) go to the program that measures, crates/resnet-ops/examples/layers.rs.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { machine, root, save } from "./report.mjs";

export async function main(args) {
  const { settings, layers } = await measureLayers(args);
  console.log(`\n${await save("layers", { machine: await machine(), settings, layers })}`);
}

/** What the program measures; its table goes to the terminal. */
export async function measureLayers(args) {
  const cargo = ["run", "--quiet", "--release", "--package", "resnet-ops", "--example", "layers", "--", ...args];
  const child = spawn("cargo", cargo, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const [output, [code]] = await Promise.all([text(child.stdout), ended]);
  if (code !== 0) process.exit(code ?? 1);
  const [settings, ...layers] = output.trim().split("\n").map((line) => JSON.parse(line));
  return { settings, layers };
}
