// P11. A process ends when it is told to, with the code that it is told, in the middle of whatever it does; and by itself when all is done.

import { hold, promise } from "./harness.mjs";

const BUSY = ["fit", "fit with checkpoints", "four fits", "iterated", "a paused fit", "a live page", "predict", "evaluate", "save", "save and load", "steps", "batches", "nothing"];
const ENDS = ["exit", "exit", "exit in a handler of exit", "throw", "reject"];
/** Milliseconds from the word to the end. */
const MOST = 2000;

export default promise("P11", "process.exit at any moment ends the process within 2 s with its code, an error that nobody catches with code 1, and one that has done all ends by itself", [
  {
    name: "ends at random moments",
    trials: { tenth: 26, usual: 156, full: 520 },
    async run(trial) {
      const busy = BUSY[trial.index % BUSY.length];
      const end = busy === "nothing" ? "exit" : trial.random.pick(ENDS);
      const code = end.startsWith("exit") && busy !== "nothing" ? trial.random.below(100) : 0;
      const process = trial.start("exiting", { busy, end, code, after: trial.random.between(0, 150), folder: await trial.folder() }, { timeout: 60_000 });
      const line = await process.line();
      const began = performance.now();
      const isThrown = end === "throw" || end === "reject";
      const { stderr } = await process.ended({ code: isThrown ? 1 : code, isSilent: !isThrown });
      const ms = performance.now() - began;
      trial.figure("from the word to the end", ms, "ms");
      const told = `${end} in ${busy}`;
      hold(line === "ending", `${told}: it said ${line}`);
      hold(!isThrown || stderr.includes("nobody catches this"), `${told}: stderr ${stderr}`);
      hold(ms < MOST, `${told}: ends after ${ms.toFixed(0)} ms`);
    },
  },
]);
