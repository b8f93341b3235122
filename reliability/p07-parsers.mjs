// P7. Files that were changed at random are read or refused, soon and without much memory.

import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "../benchmark/report.mjs";
import { hold, promise } from "./harness.mjs";

const FORMATS = ["model file", "weights as safetensors", "weights of PyTorch", "png", "jpeg", "webp", "folder of pictures", "list of pictures", "config.json", "checkpoint", "idx, packed or not", "archive of CIFAR"];
/** Of memory that a file of some kilobytes may take. */
const MOST_MEBIBYTES = 256;

export default promise("P7", "Files of every format that were changed at random are read or refused by a typed error, within 2 s of work and 256 MiB", [
  {
    name: "mutants",
    trials: FORMATS,
    async run(trial) {
      const format = trial.item;
      // What falls short is to be kept in a folder of the format's name: it is tried first from then on.
      const corpus = fileURLToPath(new URL(`corpus/${format.replaceAll(/\W+/g, "-")}`, import.meta.url));
      const keep = join(root, "out/reliability");
      mkdirSync(keep, { recursive: true });
      const [least, ...more] = format.startsWith("idx") ? [20, 100, 1000] : [120, 1000, 10_000];
      const data = {
        format,
        folder: await trial.folder("/dev/shm"),
        seed: trial.random.seed(),
        mutants: trial.amount([least, ...more]),
        fixtures: join(root, "crates/resnet-core/tests/fixtures"),
        corpus: existsSync(corpus) ? corpus : undefined,
        sample: join(root, "data/fashion-mnist-sample"),
        keep,
      };
      const { result } = await trial.run("mutating", data, { timeout: 3_600_000 });
      const { tried, longest, mebibytes, failures } = result;
      trial.count(tried, tried - failures.length);
      trial.figure("longest", longest, "ms of work");
      trial.figure("memory", mebibytes, "MiB");
      hold(failures.length === 0, `${format}: ${failures.slice(0, 3).join("\n")}`);
      hold(mebibytes < MOST_MEBIBYTES, `${format}: ${mebibytes.toFixed(0)} MiB more than before`);
    },
  },
]);
