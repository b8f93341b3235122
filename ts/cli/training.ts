import { join } from "node:path";
import { calibrate, type Calibration, fit, type FitEvent, type FitOptions, History, loadModel, type Model, plot, ranks, ResNetError, type TrainingData } from "../index.js";
import { EXIT, Failure } from "./failure.js";
import { lastCheckpoint } from "./checkpointing.js";
import { tellAddress } from "./dashboard-options.js";
import { oneLine } from "./option.js";
import { Progress } from "./progress.js";
import { writeReport } from "./reporting.js";
import type { Screen } from "./screen.js";
import { isOther } from "./sharing.js";
import { chartBeside, replace, systemReason } from "./target.js";

/** A training run, and where its model goes. */
export interface Training {
  readonly model: Model;
  readonly data: TrainingData;
  readonly options: FitOptions & { readonly epochs: number };
  /** The words with which it goes on from its checkpoints, if it writes some. */
  readonly again: string;
  /** The model's file; a chart is put beside it. */
  readonly output: string;
  /** The report's file, if one is wanted. */
  readonly report: string | undefined;
  /** The chart's and the report's title. */
  readonly title: string;
  /** Which epoch's weights the file has in the end: the last one's, or those with the highest accuracy on what was kept for validation. */
  readonly keep: "last" | "best";
}

/** Events that are results. */
const RECORDED: ReadonlySet<FitEvent["type"]> = new Set(["resume", "epoch", "checkpoint"]);

/** What came of it: whether there is a file of the model, and the exit code. */
export interface Trained {
  readonly isSaved: boolean;
  readonly exit: number;
}

/** Trains, shows how it goes, and saves what is to be kept after each epoch; what an interrupt leaves is a result too. */
export async function trainAndSave({ model, data, options, again, output, report: page, title, keep }: Training, screen: Screen): Promise<Trained> {
  if (isOther(options)) return followed({ model, data, options, keep }, screen);
  const began = performance.now();
  let saved = 0;
  const onEpochEnd: FitOptions["onEpochEnd"] = async ({ epoch }, { best }) => {
    if (keep === "best" && best?.epoch !== epoch) return;
    // Whatever happens later, what was best so far is saved.
    await model.save(output).catch((error: ResNetError) => {
      const left = saved === 0 ? "nothing is saved" : `${output} stays as it was after epoch ${saved}`;
      throw new Failure(error.code, `${error.message}; ${left}`);
    });
    saved = epoch;
  };
  const restoreBest = restored(keep);
  const { history, hasBegun, failure } = await conduct(model, data, { ...options, ...restoreBest, onEpochEnd }, screen).catch((error: unknown) => {
    if (saved === 0 || !(error instanceof ResNetError)) throw error;
    throw new Failure(error.code, `${error.message}; ${output} has the model as it was after epoch ${saved}`);
  });
  screen.status.clear();
  // A signal that comes later finds nothing to stop.
  const stopped = screen.interrupt.signal.aborted;
  if (stopped && !hasBegun && failure === undefined) return stoppedBefore(screen);
  const best = { epoch: (keep === "best" && history.best?.epoch) || 0 };
  if (stopped) screen.print(best.epoch === 0 || keep === "last" ? "Stopped: the weights are those of the last whole step." : "Stopped.");
  if (history.stoppedEarly) screen.print("Ended early: the validation loss became no smaller.");
  const dir = options.checkpoint?.dir;
  const checkpoint = stopped && dir !== undefined ? await lastCheckpoint(String(dir)) : undefined;
  if (checkpoint !== undefined) screen.print(`To go on from ${oneLine(checkpoint)}${options.distributed ? ", by the same launcher" : ""}: ${again}`);
  // Stopped before it was better than what it went on from: that lies beside the checkpoints.
  if (stopped && best.epoch > 0 && saved === 0 && dir !== undefined) await saveBest(String(options.resume ?? dir), output);
  else if (!stopped || keep === "last" || best.epoch === 0) await model.save(output);
  const calibration = keep === "best" && best.epoch > 0 && !stopped && data.validation ? await calibrated(output, model, data, screen) : undefined;
  const chart = history.rows.length > 0 ? chartBeside(output) : undefined;
  if (chart) {
    await replace(chart, await plot(history, { title })).catch((error: unknown) => {
      throw new Failure("ERR_IO", `cannot write the chart ${chart}: ${systemReason(error as Error)}; the model is saved to ${output}`);
    });
  }
  if (failure) throw new Failure(failure.code, `${failure.message}; the model is saved to ${output}`);
  const report = stopped ? undefined : await writeReport(page, { model, history, data, title, beside: `; the model is saved to ${output}` }, screen);
  const seconds = (performance.now() - began) / 1000;
  const kept = keep === "best" ? { best: best.epoch } : {};
  screen.record({ type: "end", status: stopped ? "interrupted" : "finished", epochs: history.rows.length, stoppedEarly: history.stoppedEarly, ...kept, ...calibration, seconds, output, chart, report, checkpoint });
  const which = keep === "best" && best.epoch > 0 ? ` as it was after epoch ${best.epoch}, its best one` : "";
  screen.print(`\nSaved to ${output}${which}${chart ? `; losses and accuracy by epoch drawn in ${chart}` : ""}`);
  if (calibration) {
    const { temperature, lossBefore, lossAfter } = calibration;
    const losses = `validation loss from ${lossBefore.toFixed(4)} to ${lossAfter.toFixed(4)}`;
    screen.print(`Its probabilities are calibrated on the pictures for validation: temperature ${temperature.toFixed(2)}, ${losses}`);
  }
  if (page !== undefined) screen.print(report === undefined ? "Stopped: no report is written" : `What there is to know of it, in a browser: ${oneLine(page)}`);
  return { isSaved: true, exit: stopped || (page !== undefined && report === undefined) ? screen.interrupt.code! : EXIT.success };
}

/** What a run of a process does that is not the first: all that the first one does but to write. */
async function followed({ model, data, options, keep }: Pick<Training, "model" | "data" | "options" | "keep">, screen: Screen): Promise<Trained> {
  const { signal } = screen.interrupt;
  await fit(model, data, { ...options, ...restored(keep), signal }).catch((error: unknown) => {
    // An interrupt is the first one's to tell.
    if (!screen.interrupt.heeds(error) && error !== signal.reason) throw error;
  });
  return { isSaved: false, exit: signal.aborted ? screen.interrupt.code! : EXIT.success };
}

function restored(keep: Training["keep"]): Pick<FitOptions, "restoreBest"> {
  return keep === "best" ? { restoreBest: "validationAccuracy" } : {};
}

/** Saves the best model that lies beside checkpoints. */
async function saveBest(dir: string, output: string): Promise<void> {
  using best = await loadModel(join(dir, "best.safetensors"));
  await best.save(output);
}

/** Trains; besides how it went, whether all processes that share it have come to it, and why an interrupt could not leave a checkpoint, if it could not. */
async function conduct(model: Model, data: TrainingData, options: Training["options"], screen: Screen): Promise<{ history: History; hasBegun: boolean; failure?: ResNetError }> {
  const { signal } = screen.interrupt;
  let hasBegun = options.distributed === undefined || ranks() === undefined;
  const progress = new Progress(options.epochs, screen.status, (line) => screen.print(line));
  const run = fit(model, data, { ...options, signal });
  void tellAddress(run, screen);
  try {
    for await (const event of run) {
      hasBegun = true;
      progress.show(event);
      if (RECORDED.has(event.type)) screen.record(event);
    }
    return { history: await run, hasBegun };
  } catch (error) {
    const isHeeded = screen.interrupt.heeds(error);
    if (!signal.aborted) throw error;
    const history = (error as { history?: History }).history ?? new History();
    if (isHeeded || error === signal.reason) return { history, hasBegun };
    if (!(error instanceof ResNetError)) throw error;
    return { history, hasBegun, failure: error };
  }
}

/** Makes the probabilities of the best epoch fit what was kept for validation; nothing if that was interrupted. */
async function calibrated(file: string, model: Model, data: TrainingData, screen: Screen): Promise<Calibration | undefined> {
  const { signal } = screen.interrupt;
  screen.status.show("Calibrating the probabilities");
  try {
    await model.loadWeights(file, { signal });
    const calibration = await calibrate(model, data.validation!, { signal });
    await model.save(file);
    return calibration;
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    return undefined;
  }
}

/** Loads what is to be trained on; nothing if that was interrupted, which then is all there is to say. */
export async function loadOrStop<T>(load: () => Promise<T>, screen: Screen): Promise<T | undefined> {
  try {
    return await load();
  } catch (error) {
    if (!screen.interrupt.signal.aborted) throw error;
    stoppedBefore(screen);
    return undefined;
  }
}

/** Says that there was nothing to stop yet. */
function stoppedBefore(screen: Screen): Trained {
  screen.record({ type: "end", status: "interrupted" });
  screen.print("Stopped before training; nothing is saved.");
  return { isSaved: false, exit: screen.interrupt.code! };
}
