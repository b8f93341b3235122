// P8. Data that is not what it says is an error before it is trained on, and names what is wrong.

import { join } from "node:path";
import { root } from "../benchmark/report.mjs";
import { hold, promise } from "./harness.mjs";

export default promise("P8", "Labels out of range, iterables that throw, folders that change underfoot and arrays written to afterwards: a typed error, or as if nothing had been", [
  {
    name: "odd data",
    trials: { tenth: 2, usual: 12, full: 60 },
    async run(trial) {
      const data = { seed: trial.random.seed(), rounds: trial.amount([15, 50, 100]), folder: await trial.folder(), fixtures: join(root, "crates/resnet-core/tests/fixtures") };
      const { result } = await trial.run("odd-data", data, { timeout: 600_000 });
      const { tried, failures } = result;
      trial.count(tried, tried - failures.length);
      hold(failures.length === 0, failures.slice(0, 4).join("\n"));
    },
  },
]);
