// P16. A loss, gradient or weight that is not finite is told by the step that makes it, or the next; no checkpoint and no file has it.

import { hold, promise } from "./harness.mjs";

export default promise("P16", "Numbers that are not finite are told within a step, and are written over no good file", [
  {
    name: "injections",
    trials: { tenth: 2, usual: 10, full: 20 },
    async run(trial) {
      const { result } = await trial.run("non-finite", { folder: await trial.folder(), seed: trial.random.seed(), injections: trial.amount([28, 52, 100]) });
      const { tried, failures, worst } = result;
      trial.count(tried, tried - failures.length);
      trial.figure("steps until it is told", worst);
      hold(failures.length === 0, failures.slice(0, 5).join("\n"));
    },
  },
]);
