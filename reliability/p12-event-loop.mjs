// P12. The main thread stays free while the package works.

import { join } from "node:path";
import { root } from "../benchmark/report.mjs";
import { hold, namesIn, promise } from "./harness.mjs";

/** Milliseconds of work between two turns of the loop. */
const MOST = 100;

const works = namesIn("stalling", "works");

export default promise("P12", "While the package works, no turn of the event loop takes 100 ms of the main thread's time", [
  {
    name: "the longest turn",
    missing: () => (process.platform === "linux" ? undefined : "it reads /proc"),
    trials: works,
    async run(trial) {
      const picture = join(root, "crates/resnet-core/tests/fixtures/pictures/rgb.jpg");
      const { result } = await trial.run("stalling", { what: trial.item, folder: await trial.folder(), scale: trial.amount([1, 4, 16]), picture }, { timeout: 1_800_000 });
      trial.figure("longest turn", result.longest, "ms of work");
      hold(result.longest < MOST, `${trial.item}: a turn of the loop takes ${result.longest.toFixed(0)} ms of work`);
    },
  },
]);
