// P10. Worker threads may end at any moment of what the package does in them, alone or beside each other, and the process lives.

import { hold, promise } from "./harness.mjs";

export default promise("P10", "Worker threads end at any moment of a load, fit, predict or save, and the process lives", [
  {
    name: "workers are ended at random moments",
    trials: { tenth: 3, usual: 12, full: 50 },
    async run(trial) {
      const data = { seed: trial.random.seed(), rounds: trial.amount([3, 6, 12]), beside: trial.random.pick([1, 2, 4, 8]), isFirst: trial.random.chance(0.5), folder: await trial.folder() };
      const { result } = await trial.run("workers", data, { timeout: 300_000 });
      const { tried, failures } = result;
      trial.count(tried, tried - failures.length);
      hold(failures.length === 0, `${JSON.stringify(data)}: ${failures.slice(0, 3).join("\n")}`);
    },
  },
]);
