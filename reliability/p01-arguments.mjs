// P1. Whatever a call is given, it does what it should or throws an error of the package's with a documented code; the process lives, and the next right
// call works.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../benchmark/report.mjs";
import { callables, surfaceFile } from "./callables.mjs";
import { hold, promise } from "./harness.mjs";

/** Constructors of plain classes, and a promise's methods, which pass on what they are given. */
const NOT_CALLED = /^new (ResNetError|LayerSummary|History)\b|^FitRun\.(then|catch|finally)$/;

/** Callables of a process. */
const GROUP = 8;

export default promise("P1", "Whatever a call is given, it does what it should or throws an error with a documented code; the process lives, the next right call works", [
  {
    name: "arguments",
    trials: async () => {
      const ids = (await callables()).map(({ id }) => id).filter((id) => !NOT_CALLED.test(id));
      const groups = Math.ceil(ids.length / GROUP);
      // Spread, so that those that take long are not in the same process.
      return Array.from({ length: groups }, (_, i) => ids.filter((_, at) => at % groups === i));
    },
    async run(trial) {
      const inside = await trial.folder();
      const data = {
        surface: await surfaceFile(),
        ids: trial.item,
        seed: trial.random.seed(),
        calls: trial.amount([12, 150, 2000]),
        folder: inside,
        fixtures: join(root, "crates/resnet-core/tests/fixtures"),
        milliseconds: trial.amount([2000, 20_000, 60_000]),
      };
      const environment = { RESNET_NATIVE_DATA: inside, HOME: inside, XDG_CACHE_HOME: inside };
      let result;
      try {
        const end = await trial.run("arguments", data, { environment, cwd: inside, timeout: GROUP * (data.milliseconds + 20_000) });
        hold(end.result?.failures, `ends before its last call, having said ${JSON.stringify(end.stdout.slice(-200))}`);
        result = end.result;
      } catch (error) {
        error.message = `${lastCall(inside)}: ${error.message}`;
        throw error;
      }
      const { failures, made, longest } = result;
      trial.count(made, made - failures.length);
      trial.figure("longest call", longest, "ms");
      hold(failures.length === 0, failures.join("\n"));
    },
  },
]);

function lastCall(folder) {
  try {
    return readFileSync(join(folder, "last-call"), "utf8").slice(0, 1000);
  } catch {
    return "before the first call";
  }
}
