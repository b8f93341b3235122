// P4. The number of threads changes no bit of what a training gives, nor does another run.

import { hold, promise } from "./harness.mjs";

export default promise("P4", "A seed gives the same bits whatever the number of threads, in this process and in another", [
  {
    name: "random networks, on 1, 2, 3 and 4 threads and again",
    trials: { tenth: 6, usual: 60, full: 300 },
    async run(trial) {
      const seed = trial.random.seed();
      const results = [];
      for (const threads of [[1, 2, 3, 4], [2, 1]]) results.push((await trial.run("bits", { seed, threads })).result);
      const all = results.flatMap((found) => Object.entries(found));
      const other = all.find(([, digest]) => digest !== all[0][1]);
      hold(!other, `${other?.[0]} threads give other bits than ${all[0][0]}: ${JSON.stringify(results)}`);
    },
  },
]);
