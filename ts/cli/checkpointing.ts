import { readdir, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { type FitOptions, loadModel } from "../index.js";
import { Failure, Misuse } from "./failure.js";
import { PROGRAM, SHARED_PROGRAM } from "./help.js";
import { isTable } from "./logging.js";
import { oneLine, type Options, text, typedAgain, type Values } from "./option.js";
import { chartBeside, checkTargets } from "./target.js";

/** Minutes after which an epoch that is under way is worth a checkpoint. */
const MINUTES = 10;

/** Options of commands that train. */
export const checkpointOptions = {
  checkpoint: text(`folder for checkpoints, after each epoch, every ${MINUTES} minutes and when it is interrupted, that --resume goes on from`, "DIR", undefined, "a folder"),
  resume: text("such a folder, to go on from its last checkpoint to the same bits; all else must be as it was, but for --epochs and what a schedule makes of them", "DIR", undefined, "a folder"),
};

/** Refuses what cannot be gone on from, and outputs that cannot be written; the model of a run that goes on may be there. */
export async function checkFiles(
  { resume, force, report, log }: { readonly resume: string | undefined; readonly force: boolean; readonly report: string | undefined; readonly log: string | undefined },
  output: string,
): Promise<void> {
  if (resume !== undefined && !(await stat(resume).catch(() => undefined))?.isDirectory()) {
    throw new Failure("ERR_IO", `--resume: expected a folder that a training writes checkpoints to, got ${oneLine(resume)}`);
  }
  const outputs = { "--output": output, "its chart": chartBeside(output), "--report": report, "--log": log };
  const places = Object.entries(outputs).flatMap(([name, file]) => (file === undefined ? [] : [[name, resolve(file)] as const]));
  for (const [i, [name, place]] of places.entries()) {
    const same = places.slice(0, i).find(([, other]) => other === place);
    if (same !== undefined) throw new Misuse(`${name}: expected another file than ${same[0]}, got ${oneLine(place)} for both`);
  }
  const may = force || (resume !== undefined && (await isOf(resume, output)));
  await checkTargets([output, chartBeside(output)], may);
  if (report !== undefined) await checkTargets([report], may, "--report");
  if (log !== undefined && isTable(log)) await checkTargets([log], force || resume !== undefined, "--log");
}

/** The checkpoints of a folder, the newest first, and the best epoch's model. */
async function models(folder: string): Promise<string[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => /^(best|step-\d+)\.safetensors$/.test(name));
  return names.toSorted().toReversed().map((name) => join(folder, name));
}

/** The checkpoint that a training goes on from, if there is one. */
export async function lastCheckpoint(folder: string): Promise<string | undefined> {
  return (await models(folder)).find((file) => basename(file).startsWith("step-"));
}

/** Whether a file has a model of the size and classes of the folder's newest one that is whole. */
async function isOf(folder: string, file: string): Promise<boolean> {
  const told = async (file: string) => {
    using model = await loadModel(file);
    return JSON.stringify([model.numParameters, model.classNames]);
  };
  const own = await told(file).catch(() => undefined);
  for (const newest of own === undefined ? [] : await models(folder)) {
    const other = await told(newest).catch(() => undefined);
    if (other !== undefined) return other === own;
  }
  return false;
}

/** The same as the library takes them; a run that goes on writes to where it came from. */
export function checkpointing({ checkpoint, resume }: Values<typeof checkpointOptions>): Pick<FitOptions, "checkpoint" | "resume"> {
  const dir = checkpoint ?? resume;
  return dir === undefined ? {} : { checkpoint: { dir, everyEpochs: 1, everyMinutes: MINUTES, onAbort: true }, ...(resume !== undefined && { resume }) };
}

/** The folders, as the first line for a program has them. */
export function placesOf({ checkpoint, resume }: Values<typeof checkpointOptions>): { readonly checkpoint: string | undefined; readonly resume: string | undefined } {
  return { checkpoint: checkpoint ?? resume, resume };
}

/** The words of a training that goes on from its checkpoints: those that it began with, but for a launcher's before them. */
export function wordsToGoOn(command: string, options: Options, settings: Readonly<Record<string, unknown>>): string {
  const { checkpoint, resume, distributed } = settings;
  return `${distributed ? SHARED_PROGRAM : PROGRAM} ${command}${typedAgain(options, { ...settings, checkpoint: undefined, resume: checkpoint ?? resume, force: false })}`;
}
