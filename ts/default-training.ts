import { type Optimizer } from "./optimizer.js";
import { sgd } from "./optimizers.js";
import type { Schedule } from "./schedule.js";
import { oneCycle } from "./schedules.js";

// What training takes where it is told nothing. Chosen by npm run bench -- recipes; its table is in guides/fine-tuning.md.

/** The optimiser where none is given. */
export function defaultOptimizer(): Optimizer {
  return sgd({ lr: 0.02, momentum: 0.9, nesterov: true, weightDecay: 5e-4, decayNormsAndBiases: false });
}

/** The schedule of a run without an optimiser and a schedule of its own. */
export function defaultSchedule(): Schedule {
  return oneCycle({ rise: 0.2, divFactor: 10 });
}
