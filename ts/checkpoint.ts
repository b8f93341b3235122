import { fields } from "./description.js";
import { boolean, checkOptions, filePath, path, positive, type Rules, size } from "./options.js";

/** Where and when a run writes checkpoints; without any of the three `every`, after each epoch. A run that comes to its end always writes one. */
export interface CheckpointOptions {
  /**
   * The run's folder, which is made if it is not there; no other run may use it at the same time. It gets `step-00001234.safetensors` after
   * so many updates and, where there are validation data, `best.safetensors` with the model of the best epoch (by `restoreBest`, `earlyStopping` or else
   * the validation loss). {@link loadModel} loads either; with
   * `ema` the first has the weights that are trained, the second their averages.
   */
  dir: string | URL;
  /** Updates between two checkpoints. */
  everySteps?: number;
  /** Epochs between two checkpoints. */
  everyEpochs?: number;
  /** Minutes between two checkpoints, looked at after each update. */
  everyMinutes?: number;
  /**
   * Whether a run that is aborted, or ended by a callback that throws, writes one of the last update that it has made, default false: it
   * ends when that is written. If it cannot be written the run rejects with the reason of that. Who iterates the run hears of it; `onCheckpoint`,
   * as every callback, is not called after an abort.
   */
  onAbort?: boolean;
  /** How many of the last checkpoints stay, default 2. */
  keep?: number;
}

const rules: Rules<CheckpointOptions> = { dir: path, everySteps: size, everyEpochs: size, everyMinutes: positive, onAbort: boolean, keep: size };

/** The options as the addon reads them. */
export function describeCheckpoint(given: CheckpointOptions | undefined): object | undefined {
  if (given === undefined) return undefined;
  const { dir, onAbort = false, keep = 2, ...every } = checkOptions(given, rules, "checkpoint");
  const when = Object.keys(every).length === 0 ? { everyEpochs: 1 } : every;
  return { dir: filePath("checkpoint.dir", dir), keep, ...fields({ onAbort, ...when }) };
}
