// P6. Of the package's own files every changed byte and every cut is seen when they are read.

import { hold, promise } from "./harness.mjs";

export default promise("P6", "Every changed byte and every cut of a model's file, a model's folder or a checkpoint is an error when it is read", [
  {
    name: "bytes changed, files cut off",
    trials: ["model file", "weights from a model file", "folder", "checkpoint"],
    async run(trial) {
      const kind = trial.item;
      const folder = await trial.folder("/dev/shm");
      const { result } = await trial.run("damaging", { kind, folder, seed: trial.random.seed(), flips: trial.amount([200, 2500, 10_000]), cuts: trial.amount([200, 1e6, 1e6]) }, { timeout: 3_600_000 });
      const { tried, failures } = result;
      trial.count(tried, tried - failures.length);
      hold(failures.length === 0, `${kind}: ${failures.length} of ${tried}, such as ${failures.slice(0, 5).join("\n")}`);
    },
  },
]);
