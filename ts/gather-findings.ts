import { basename } from "node:path";
import { type Dataset, splitOf } from "./data.js";
import { defaultOptimizer, defaultSchedule } from "./default-training.js";
import { environmentOf } from "./environment.js";
import { ResNetError } from "./errors.js";
import { evaluate } from "./evaluate.js";
import type { FitOptions } from "./fit.js";
import { gradCam, type HeatMap } from "./grad-cam.js";
import { type EpochRow, type History, settingsOf } from "./history.js";
import { parseInterface } from "./interface.js";
import { mistakes } from "./mistakes.js";
import { type Model, nativeOf } from "./models.js";
import { filePath } from "./options.js";
import type { DataFacts, Findings, Missing, Role, ShownMistake } from "./report/findings.js";
import { shownFilters, shownImages, unshowable } from "./shown-pictures.js";
import { shownSamples } from "./shown-samples.js";
import type { SignalOptions } from "./signal.js";
import type { Tensor } from "./tensor.js";
import { classNameOf, titleOf } from "./titles.js";

/** What a report is asked for. */
export interface Subject extends SignalOptions {
  readonly model: Model;
  readonly history: History | undefined;
  readonly rows: readonly EpochRow[] | undefined;
  readonly train?: Dataset;
  readonly measured: Dataset;
  readonly role: Role;
  readonly source?: string;
  readonly title?: string;
  readonly mistakes: number;
  readonly batchSize: number;
}

/** Measures the model, and gathers all that a report tells. */
export async function gather(subject: Subject): Promise<Findings> {
  const { model, history, rows, train, measured, role, source, batchSize, signal } = subject;
  const evaluation = await evaluate(model, measured, { byClass: true, batchSize, signal });
  const wrong = await wrongOnes(subject);
  const settings = history && (settingsOf.get(history) as FitOptions | undefined);
  const filters = await shownFilters(await model.stateDict());
  const changed = await changedOnes(model, train, settings, signal);
  const names = measured.classNames ?? model.classNames ?? [];
  const classes = evaluation.classes?.length ?? measured.numClasses;
  const { temperature, transform } = parseInterface(nativeOf(model).interface);
  const shape = [1, ...measured.imageShape];
  const device = await model.device();
  const seed = await nativeOf(model).seed();
  signal?.throwIfAborted();
  return {
    title: subject.title ?? titleOf(model, measured),
    written: new Date(),
    network: {
      name: classNameOf(model),
      parameters: model.numParameters,
      seed,
      labelKind: measured.labelKind,
      temperature,
      transform: transform ?? measured.transform,
      stages: [...model.layerSummary(shape)],
      layers: [...model.layerSummary(shape, { depth: "layers" })],
    },
    rows: rowsOf(rows),
    best: history?.best,
    stoppedEarly: history?.stoppedEarly ?? false,
    data: {
      source,
      classNames: Array.from({ length: classes }, (_, label) => names[label] ?? String(label)),
      train: train && role !== "given" ? factsOf(train) : undefined,
      measured: factsOf(measured),
      role,
      split: train && splitOf.get(train),
    },
    trainingSeed: settings && (settings.seed ?? seed),
    evaluation,
    mistakes: wrong,
    filters,
    augmented: changed,
    configuration: settings ? configurationOf(settings) : { missing: "What the training was told is known of a History that fit gave in this process: give that one." },
    environment: environmentOf(device),
  };
}

function rowsOf(rows: readonly EpochRow[] | undefined): readonly EpochRow[] | Missing {
  if (rows === undefined) return { missing: "No history of a training was given: report(model, history, data) takes the one that fit gives." };
  return rows.length > 0 ? rows : { missing: "The history has no epoch: the training ended before the first one did." };
}

async function wrongOnes({ model, measured, mistakes: count, batchSize, signal }: Subject): Promise<ShownMistake[] | Missing> {
  if (count === 0) return { missing: "They were not asked for: the option mistakes is 0." };
  const impossible = unshowable(measured);
  if (impossible) return impossible;
  try {
    const found = await mistakes(model, measured, { count, batchSize, signal });
    if (found.length === 0) return { missing: "There are none: every image is taken for what it is." };
    const shown: ShownMistake[] = [];
    for await (const { images, indices } of measured.subset(found.map(({ index }) => index)).batches({ batchSize })) {
      const pictures = await shownImages(images, measured, { signal, heat: await heatOf(model, images, signal) });
      shown.push(...pictures.map((drawn, i) => ({ ...found[indices[i]!]!, ...drawn })));
    }
    return shown;
  } catch (error) {
    if (!(error instanceof ResNetError && error.code === "ERR_NON_FINITE_LOSS")) throw error;
    return { missing: `There are no probabilities: ${error.message}.` };
  }
}

/** Where the evidence is, unless no layer has maps of more than a pixel. */
async function heatOf(model: Model, images: Tensor, signal: AbortSignal | undefined): Promise<HeatMap[] | undefined> {
  try {
    return await gradCam(model, images, { signal });
  } catch (error) {
    if (error instanceof ResNetError && error.code === "ERR_INVALID_ARGUMENT") return undefined;
    throw error;
  }
}

/** Training images as a step sees them. */
async function changedOnes(model: Model, train: Dataset | undefined, settings: FitOptions | undefined, signal: AbortSignal | undefined): Promise<Findings["augmented"]> {
  if (train === undefined) return { missing: "No images for training were given." };
  if (settings === undefined) return { missing: "How the training changed its images is known of a History that fit gave in this process." };
  if ((settings.augment ?? []).length === 0) return { missing: "The training changed no images: the option augment of fit was not given." };
  return shownSamples(model, train, settings, (settings.initialEpoch ?? 0) + 1, signal);
}

function factsOf({ length, imageShape, labels, labelKind, numClasses }: Dataset): DataFacts {
  const counts = Array.from({ length: numClasses }, () => 0);
  if (labelKind === "single") for (const label of labels) counts[label]!++;
  else for (const [i, is] of labels.entries()) counts[i % numClasses]! += is;
  return { samples: length, imageShape, counts };
}

/** The options as plain data; what fit takes by itself is told too. Of folders the last part alone: others need not know the rest. */
function configurationOf({ optimizer, schedule, ...given }: FitOptions): Record<string, unknown> {
  const { epochs = 1, batchSize = 128, checkpoint, resume, ...others } = given;
  const usual = optimizer === undefined ? defaultSchedule() : undefined;
  const files = { checkpoint: checkpoint && { ...checkpoint, dir: lastPart(checkpoint.dir) }, resume: resume && lastPart(resume) };
  const all = { epochs, batchSize, optimizer: optimizer ?? defaultOptimizer(), schedule: schedule ?? usual ?? { name: "constant" }, ...others, ...files };
  const plain = Object.entries(all).filter(([, value]) => value !== undefined && typeof value !== "function" && !(value instanceof AbortSignal));
  return JSON.parse(JSON.stringify(Object.fromEntries(plain))) as Record<string, unknown>;
}

function lastPart(path: string | URL): string {
  return basename(filePath("path", path));
}
