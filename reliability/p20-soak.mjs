// P20. Everything at random, for a long time: no failure, no growth.

import { join } from "node:path";
import { root } from "../benchmark/report.mjs";
import { hold, promise } from "./harness.mjs";
import { missingShims, shimmed } from "./shims.mjs";

/** Mebibytes of a short run, and in an hour of a long one. */
const MOST_GROWN = 16;
const MOST_SLOPE = 1;

export default promise("P20", "Everything at random for a long time: no failure, and the memory in use does not grow (in a full run by at most 1 MiB in an hour)", [
  {
    name: "soak",
    missing: missingShims,
    trials: { tenth: 1, usual: 2, full: 1 },
    async run(trial) {
      const seconds = trial.amount([6, 45, 7200]);
      const [folder, beside] = [await trial.folder(), await trial.folder()];
      const control = join(beside, "control");
      const data = { seed: trial.random.seed(), seconds, folder, control, fixtures: join(root, "crates/resnet-core/tests/fixtures") };
      const { result } = await trial.run("soaking", data, { node: ["--expose-gc"], environment: shimmed("allocated", control), timeout: (seconds + 120) * 1000 });
      const { done, failures, slope, grown } = result;
      trial.count(done, done - failures.length);
      trial.figure("grown", grown, "MiB");
      hold(failures.length === 0, failures.join("\n"));
      hold(grown < MOST_GROWN, `grows by ${grown.toFixed(1)} MiB in ${seconds} s`);
      hold(trial.size !== "full" || slope < MOST_SLOPE, `grows by ${slope.toFixed(2)} MiB in an hour`);
    },
  },
]);
