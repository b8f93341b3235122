// P15. Calls to one model that overlap in any order end as a plain model of them says: done, busy, aborted or disposed of.

import { hold, promise } from "./harness.mjs";

export default promise("P15", "Overlapping calls in any order end as the state model says: done, ERR_BUSY, ERR_DISPOSED or the signal's reason; nothing stays busy", [
  {
    name: "random interleavings",
    trials: { tenth: 2, usual: 8, full: 24 },
    async run(trial) {
      const data = { folder: await trial.folder(), seed: trial.random.seed(), runs: trial.amount([40, 150, 500]), commands: 24 };
      const { result } = await trial.run("interleaving", data, { timeout: 900_000 });
      trial.count(result.made, result.made - result.failures.length);
      hold(result.failures.length === 0, result.failures.join("\n"));
    },
  },
]);
