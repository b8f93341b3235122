import type { FitOptions } from "../index.js";
import { text, type Values } from "./option.js";

/** Minutes after which an epoch that is under way is worth a checkpoint. */
const MINUTES = 10;

/** Options of commands that train. */
export const checkpointOptions = {
  checkpoint: text(`folder for checkpoints, after each epoch and every ${MINUTES} minutes, that --resume goes on from`, "DIR", undefined, "a folder"),
  resume: text("such a folder, to go on from its last checkpoint to the same bits; all else must be as it was, but for --epochs", "DIR", undefined, "a folder"),
};

/** The same as the library takes them; a run that goes on writes to where it came from. */
export function checkpointing({ checkpoint, resume }: Values<typeof checkpointOptions>): Pick<FitOptions, "checkpoint" | "resume"> {
  const dir = checkpoint ?? resume;
  return dir === undefined ? {} : { checkpoint: { dir, everyEpochs: 1, everyMinutes: MINUTES }, ...(resume !== undefined && { resume }) };
}
