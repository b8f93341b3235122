// P14. A signal to the command line has the whole steps saved and the usual exit code; a second one ends it at once, and what is saved is whole.

import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { root } from "../benchmark/report.mjs";
import { hold, promise } from "./harness.mjs";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
/** Milliseconds from the signal to the end. */
const MOST = 10_000;

export default promise("P14", "SIGINT, SIGTERM and SIGHUP have the command line save whole steps and exit with 128 and their number; a second one ends it at once, and no file is damaged", [
  {
    name: "signals at random moments of train",
    missing: () => (process.platform === "win32" ? "Windows has no such signals" : undefined),
    trials: { tenth: 6, usual: 40, full: 120 },
    async run(trial) {
      const folder = await trial.folder();
      const output = join(folder, "model.safetensors");
      const [signal, isTwice] = [trial.random.pick(SIGNALS), trial.random.chance(0.3)];
      const withCheckpoints = trial.random.chance(0.5);
      const pictures = join(folder, "pictures");
      for (const name of ["a", "b"]) {
        mkdirSync(join(pictures, name), { recursive: true });
        for (let i = 0; i < 20; i++) copyFileSync(join(root, "crates/resnet-core/tests/fixtures/pictures/rgb.jpg"), join(pictures, name, `${i}.jpg`));
      }
      const args = ["train", pictures, "--network", "cifar_resnet20", "--size", "16", "--epochs", "100000", "--threads", "1", "--output", output];
      if (withCheckpoints) args.push("--checkpoint", join(folder, "run"));
      const train = trial.command(process.execPath, [join(root, "dist/cli/main.js"), ...args], { cwd: folder, timeout: 120_000 });
      // Under way: the data is there, and steps are made.
      await train.line();
      await sleep(trial.random.between(300, 2500));
      const began = performance.now();
      train.kill(signal);
      if (isTwice) {
        await sleep(trial.random.between(0, 60));
        train.kill(signal);
      }
      const wanted = 128 + constants.signals[signal];
      const end = await train.ended({ code: wanted, isSilent: false }).catch(async (error) => {
        // By the second one the system may end it.
        if (!isTwice || !(await train.ended({ signal, isSilent: false }).catch(() => undefined))) throw error;
        return undefined;
      });
      const ms = performance.now() - began;
      trial.figure("from the signal to the end", ms, "ms");
      hold(ms < MOST, `${signal}: ends after ${ms.toFixed(0)} ms`);
      const there = existsSync(output);
      hold(isTwice || end === undefined || there || withCheckpoints, `${signal}: nothing is saved: ${end?.stderr}`);
      if (there) {
        const { result } = await trial.run("reading", { kind: "save", folder });
        hold(result.value, `${signal}: what is saved cannot be read: ${result.error}`);
      }
      const left = readdirSync(folder).filter((name) => name.endsWith(".tmp"));
      hold(isTwice || left.length === 0, `${signal}: left over: ${left}`);
    },
  },
]);
