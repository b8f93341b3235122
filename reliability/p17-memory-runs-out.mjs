// P17. Where there is no memory for something whose size comes from data, a network or a file, the call says so by its code, and the next one works.

import { join } from "node:path";
import { root } from "../benchmark/report.mjs";
import { hold, namesIn, promise } from "./harness.mjs";
import { missingShims, shimmed } from "./shims.mjs";

const calls = namesIn("starving", "calls");

export default promise("P17", "Whichever large allocation of a call fails, it rejects with ERR_OUT_OF_MEMORY, the process lives, and the next call is right", [
  {
    name: "the nth large allocation fails",
    missing: missingShims,
    trials: calls.flatMap((call) => [false, true].map((isLasting) => ({ call, isLasting }))),
    async run(trial) {
      if (trial.size === "tenth" && trial.item.isLasting) return trial.skip();
      const [folder, aside] = [await trial.folder(), await trial.folder()];
      const control = join(aside, "control");
      const picture = join(root, "crates/resnet-core/tests/fixtures/pictures/rgb.jpg");
      const { result } = await trial.run("starving", { ...trial.item, folder, control, picture, most: trial.amount([8, 60, 10_000]) }, { environment: shimmed("memory", control) });
      const { tried, failures } = result;
      trial.count(tried, tried - failures.length);
      hold(failures.length === 0, `${JSON.stringify(trial.item)}: ${failures.slice(0, 3).join("\n")}`);
    },
  },
]);
