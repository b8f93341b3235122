// npm run bench -- dashboard: what open pages of a run cost its steps. One run of ResNet-20 on Fashion-MNIST's sample, stretches with pages
// open, as another process reads them, and without in turns.
//
//   --pages N      pages that are open, default 8
//   --rounds N     stretches with them, and as many without, default 16
//   --seconds N    of a stretch, default 3
//   --threads N, --batch-size N   default 1 and 16

import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CifarResNet, fashionMnist, fit } from "../dist/index.js";
import { table } from "../dist/table.js";
import { parse } from "./options.mjs";
import { machine, median, save } from "./report.mjs";
import { range } from "./turns.mjs";

/** Milliseconds in which what has changed settles. */
const SETTLING = 300;

export async function main(args) {
  const options = parse(args, { pages: 8, rounds: 16, seconds: 3, threads: 1, batchSize: 16 });
  const { train } = await fashionMnist({ source: "sample" });
  const model = new CifarResNet({ depth: 20, numClasses: 10, threads: options.threads });
  const controller = new AbortController();
  const run = fit(model, train, { epochs: 1e6, batchSize: options.batchSize, dashboard: true, signal: controller.signal });
  const reader = fork(fileURLToPath(import.meta.url), [await run.dashboard], { env: { ...process.env, RESNET_NATIVE_BENCH_READER: "1" } });
  let ends = [];
  const steps = (async () => {
    for await (const { type } of run) if (type === "step") ends.push(performance.now());
  })().catch(() => {});
  const stretches = { without: [], with: [] };
  for (let round = 0; round < 2 * options.rounds; round++) {
    const name = round % 2 === 0 ? "without" : "with";
    reader.send(name === "with" ? options.pages : 0);
    await once(reader, "message");
    await new Promise((resolve) => setTimeout(resolve, SETTLING));
    ends = [];
    const before = spent();
    await new Promise((resolve) => setTimeout(resolve, options.seconds * 1000));
    const [process, thread] = spent().map((time, i) => time - before[i]);
    const gaps = ends.slice(1).map((end, i) => end - ends[i]);
    stretches[name].push({ step: median(gaps), process: process / ends.length, thread: thread / options.seconds });
  }
  reader.kill();
  controller.abort();
  await steps;
  const all = (name, key) => stretches[name].map((one) => one[key]);
  const row = (title, key) => [title, ...["without", "with"].map((name) => `${median(all(name, key)).toFixed(3)} (${range(all(name, key), 2)})`)];
  const rows = [row("a step, ms", "step"), row("processor's time of a step, ms", "process"), row("JavaScript's thread, ms in a second", "thread")];
  console.log(table(["", "without pages", `with ${options.pages}`], rows, 1));
  console.log(`\n${await save("dashboard", { machine: await machine(), options, stretches })}`);
}

/** Milliseconds of processors that this process has used, and, where the system tells, its first thread. */
function spent() {
  const { user, system } = process.cpuUsage();
  let thread = Number.NaN;
  try {
    thread = Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  } catch {
    // Linux alone.
  }
  return [(user + system) / 1000, thread];
}

/** The process that reads: keeps as many pages open as it is told. */
if (process.env.RESNET_NATIVE_BENCH_READER) {
  let open = new AbortController();
  process.on("message", async (pages) => {
    open.abort();
    open = new AbortController();
    const { signal } = open;
    const answers = await Promise.all(Array.from({ length: pages }, () => fetch(`${process.argv[2]}events`, { signal })));
    for (const { body } of answers) void body.pipeTo(new WritableStream()).catch(() => {});
    process.send("done");
  });
}
