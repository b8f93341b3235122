// npm run bench -- start: how long a new process needs to import the package, and from there to a first prediction of the
// chapter's ResNet-18 at 1x96x96 with new weights.
//
//   --rounds N   processes, default 20

import { execFileSync } from "node:child_process";
import { table } from "../dist/table.js";
import { parse } from "./options.mjs";
import { machine, median, save } from "./report.mjs";
import { range } from "./turns.mjs";

const ENTRY = new URL("../dist/index.js", import.meta.url).href;
const SCRIPT = `
  const began = performance.now();
  const { ResNet18, tensor } = await import("${ENTRY}");
  const imported = performance.now();
  const model = new ResNet18({ inChannels: 1, numClasses: 10 });
  await model.predict(tensor(new Float32Array(96 * 96), [1, 1, 96, 96]));
  console.log(JSON.stringify({ import: imported - began, predict: performance.now() - began }));`;

export async function main(args) {
  const options = parse(args, { rounds: 20 });
  const command = ["--input-type=module", "-e", SCRIPT];
  const runs = Array.from({ length: options.rounds }, () => JSON.parse(execFileSync(process.execPath, command, { encoding: "utf8" })));
  const row = (name, times) => [name, median(times).toFixed(0), range(times, 0)];
  const rows = [
    row("import", runs.map((run) => run.import)),
    row("import to first prediction", runs.map((run) => run.predict)),
  ];
  console.log(table(["", "ms", "range"], rows, 1));
  console.log(`\n${await save("start", { machine: await machine(), options, runs })}`);
}
