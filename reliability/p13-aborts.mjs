// P13. Every call that takes a signal rejects with its reason soon after it is raised, and leaves nothing behind.

import { join } from "node:path";
import { root } from "../benchmark/report.mjs";
import { callables } from "./callables.mjs";
import { hold, promise, quantile } from "./harness.mjs";

/** Milliseconds of work from the signal to the rejection, at most in 99 of 100, and on the clock at most, however busy the machine is. */
const MOST = 250;
const MOST_WAITED = 10_000;

export default promise("P13", "Every call that takes a signal rejects with its reason, within 250 ms of work in 99 of 100, and the next call is as if nothing had been", [
  {
    name: "a signal at random moments",
    trials: async () => (await callables()).filter(takesSignal).map(({ id }) => id),
    async run(trial) {
      // Each takes a second to begin.
      if (trial.size === "tenth" && trial.index % 3 !== trial.random.below(3)) return trial.skip();
      const call = trial.item;
      const data = { call, aborts: trial.amount([5, 15, 100]), seed: trial.random.seed(), folder: await trial.folder(), fixtures: join(root, "crates/resnet-core/tests/fixtures"), sample: join(root, "data/fashion-mnist-sample") };
      const { result } = await trial.run("aborting", data, { timeout: 1_800_000 });
      const { computed, waited, failures, done } = result;
      const [p99, most] = [quantile(computed, 0.99) ?? 0, Math.max(0, ...waited)];
      trial.count(data.aborts, data.aborts - failures.length);
      trial.figure("p99 of a call", p99, "ms of work");
      trial.figure("longest", most, "ms");
      hold(failures.length === 0, `${call} (${done} of ${data.aborts} done before): ${failures.slice(0, 4).join("; ")}`);
      hold(p99 <= MOST, `${call}: ${p99.toFixed(0)} ms of work from the signal to the rejection in 1 of 100`);
      hold(most <= MOST_WAITED, `${call}: ${most.toFixed(0)} ms from the signal to the rejection`);
    },
  },
]);

/** Whether an option of a callable is a signal. */
function takesSignal({ parameters }) {
  const has = (type) => type.properties?.signal !== undefined || type.of?.some?.(has);
  return parameters.some(({ type }) => has(type));
}
