// P20. Everything at random, for a long time: no failure, no growth.

import { join } from "node:path";
import { root } from "../benchmark/report.mjs";
import { GIVING_BACK, hold, promise } from "./harness.mjs";

/** Mebibytes of a short run, and in an hour of a long one. */
const MOST_GROWN = 16;
const MOST_SLOPE = 1;

export default promise("P20", "Everything at random for a long time: no failure, and memory does not grow (in a full run by at most 1 MiB in an hour)", [
  {
    name: "soak",
    missing: () => (process.platform === "linux" ? undefined : "it reads /proc"),
    trials: { tenth: 1, usual: 2, full: 1 },
    async run(trial) {
      const seconds = trial.amount([6, 45, 7200]);
      const data = { seed: trial.random.seed(), seconds, folder: await trial.folder(), fixtures: join(root, "crates/resnet-core/tests/fixtures") };
      const { result } = await trial.run("soaking", data, { node: ["--expose-gc"], environment: GIVING_BACK, timeout: (seconds + 120) * 1000 });
      const { done, failures, slope, grown } = result;
      trial.count(done, done - failures.length);
      trial.figure("grown", grown, "MiB");
      hold(failures.length === 0, failures.join("\n"));
      hold(grown < MOST_GROWN, `grows by ${grown.toFixed(1)} MiB in ${seconds} s`);
      hold(trial.size !== "full" || slope < MOST_SLOPE, `grows by ${slope.toFixed(2)} MiB in an hour`);
    },
  },
]);
