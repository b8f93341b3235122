import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { type FitOptions, loadModel } from "../index.js";
import { Failure } from "./failure.js";
import { oneLine, text, type Values } from "./option.js";
import { chartBeside, checkTargets } from "./target.js";

/** Minutes after which an epoch that is under way is worth a checkpoint. */
const MINUTES = 10;

/** Options of commands that train. */
export const checkpointOptions = {
  checkpoint: text(`folder for checkpoints, after each epoch and every ${MINUTES} minutes, that --resume goes on from`, "DIR", undefined, "a folder"),
  resume: text("such a folder, to go on from its last checkpoint to the same bits; all else must be as it was, but for --epochs", "DIR", undefined, "a folder"),
};

/** Refuses what cannot be gone on from, and outputs that cannot be written; the model of a run that goes on may be there. */
export async function checkFiles({ resume, force }: { readonly resume: string | undefined; readonly force: boolean }, output: string): Promise<void> {
  if (resume !== undefined && !(await stat(resume).catch(() => undefined))?.isDirectory()) {
    throw new Failure("ERR_IO", `--resume: expected a folder that a training writes checkpoints to, got ${oneLine(resume)}`);
  }
  const [newest] = resume === undefined ? [] : await models(resume);
  const isOwn = newest !== undefined && (await isSame(output, newest));
  await checkTargets([output, chartBeside(output)], force || isOwn);
}

/** The checkpoints of a folder, the newest first, and the best epoch's model. */
async function models(folder: string): Promise<string[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => /^(best|step-\d+)\.safetensors$/.test(name));
  return names.toSorted().toReversed().map((name) => join(folder, name));
}

/** Whether there is something that a training can go on from. */
export async function hasModels(folder: string): Promise<boolean> {
  return (await models(folder)).length > 0;
}

/** Whether two files have models of one size and the same classes. */
async function isSame(...files: readonly [string, string]): Promise<boolean> {
  const told = async (file: string) => {
    using model = await loadModel(file);
    return JSON.stringify([model.numParameters, model.classNames]);
  };
  return Promise.all(files.map(told)).then(([one, other]) => one === other, () => false);
}

/** The same as the library takes them; a run that goes on writes to where it came from. */
export function checkpointing({ checkpoint, resume }: Values<typeof checkpointOptions>): Pick<FitOptions, "checkpoint" | "resume"> {
  const dir = checkpoint ?? resume;
  return dir === undefined ? {} : { checkpoint: { dir, everyEpochs: 1, everyMinutes: MINUTES }, ...(resume !== undefined && { resume }) };
}
