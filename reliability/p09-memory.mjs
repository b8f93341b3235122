// P9. Memory, threads and descriptors stay flat, whatever ends: models with or without dispose, calls that fail, loops that are left early.

import { join } from "node:path";
import { root } from "../benchmark/report.mjs";
import { hold, namesIn, promise } from "./harness.mjs";

/** Mebibytes by which a process may have grown after all cycles, and threads beyond those of the start while it goes on. */
const MOST_GROWN = 16;
/** Without dispose some models always wait for the collector. */
const MOST_WAITING = 48;
/** On the way, what waits for the collector included. */
const MOST_PEAK = 256;
const MOST_THREADS = 256;

/** glibc gives back what is freed, and has one heap for all threads: what is scattered is no leak. */
const GIVING_BACK = { MALLOC_ARENA_MAX: "1", MALLOC_MMAP_THRESHOLD_: "65536", MALLOC_TRIM_THRESHOLD_: "65536" };

const kinds = namesIn("cycling", "kinds");

export default promise("P9", "Memory, threads and descriptors stay flat, with and without dispose, when calls fail and when loops are left early", [
  {
    name: "cycles",
    missing: () => (process.platform === "linux" ? undefined : "it reads /proc"),
    trials: kinds,
    async run(trial) {
      const picture = join(root, "crates/resnet-core/tests/fixtures/pictures/rgb.jpg");
      const data = { kind: trial.item, cycles: trial.amount([60, 600, 10_000]), picture, folder: await trial.folder() };
      const { result } = await trial.run("cycling", data, { node: ["--expose-gc"], environment: GIVING_BACK, timeout: 3_600_000 });
      trial.figure("grown", result.grown, "MiB");
      trial.figure("peak", result.peak, "MiB");
      trial.figure("threads", result.mostThreads);
      const told = `${trial.item}: ${JSON.stringify(result)}`;
      hold(result.grown <= (trial.item.includes("never disposed of") ? MOST_WAITING : MOST_GROWN), `grows: ${told}`);
      hold(result.peak <= MOST_PEAK, `takes much on the way: ${told}`);
      hold(result.threads <= 0 && result.mostThreads <= MOST_THREADS, `threads stay: ${told}`);
      hold(result.descriptors <= 0, `descriptors stay: ${told}`);
    },
  },
]);
