// A network of this package as a side of `npm run bench`, through the public interface. Requests and answers are those of
// torch_step.py.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { fashionMnist, fit, sgd } from "../../dist/index.js";
import { build } from "../networks.mjs";

const options = ["network", "data", "threads", "batch-size", "size"];
const { values } = parseArgs({ options: Object.fromEntries(options.map((name) => [name, { type: "string" }])) });
const [threads, batchSize, size] = [values.threads, values["batch-size"], values.size].map(Number);
const data = await fashionMnist({ root: values.data, resize: size, interpolation: "float" });
const model = build(values.network, { seed: 42, threads });

/** Runs training steps, as one epoch of so many batches; the seconds of each. */
async function train(steps, seed) {
  const seconds = [];
  let [time, step, loss] = [performance.now(), 0, 0];
  const onStep = (event) => {
    const now = performance.now();
    // Events coalesce if the event loop is late: the time is then that of several steps.
    const each = (now - time) / 1000 / (event.step - step);
    seconds.push(...Array.from({ length: event.step - step }, () => each));
    [time, step, loss] = [now, event.step, event.loss];
  };
  await fit(model, data.train.take(steps * batchSize), { batchSize, optimizer: sgd({ lr: 0.01 }), seed, onStep });
  return { seconds, loss };
}

/** Predicts batches; the seconds of each. */
async function predict(steps) {
  const seconds = [];
  let time = performance.now();
  for await (const { images } of data.train.take(steps * batchSize).batches({ batchSize, shuffle: true })) {
    await model.predict(images);
    const now = performance.now();
    seconds.push((now - time) / 1000);
    time = now;
  }
  return { seconds };
}

/** The most memory that this process has had resident. */
function peakBytes() {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

const write = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
write({ threads });
let requests = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { run, steps } = JSON.parse(line);
  requests += 1;
  const answer = run === "train" ? await train(steps, requests) : await predict(steps);
  write({ ...answer, peakBytes: peakBytes() });
}
model.dispose();
