import { classifyWith, type Prediction } from "./classify.js";
import { type Batch, type Dataset, nativeDataOf } from "./data.js";
import { ResNetError } from "./errors.js";
import { parseInterface } from "./interface.js";
import { type Model, nativeOf } from "./models.js";
import { checkOptions, integer, MAX_U32, size } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";

/** Options of {@link mistakes}. */
export interface MistakesOptions extends SignalOptions {
  /** How many are told at most, default 24. */
  count?: number;
  /** Images that are read at a time, default 128. */
  batchSize?: number;
}

/** A sample that a model takes for what it is not. */
export interface Mistake {
  /** Where the sample stands in the data set. */
  readonly index: number;
  /** Its file, where the data set is made of files. */
  readonly path?: string;
  /** The class that it is of, with the probability that the model gave it; where samples are of any number of classes, all of them. */
  readonly labels: readonly Prediction[];
  /** The class that it was taken for; where samples are of any number of classes all with a probability of at least 0.5, the most probable first. */
  readonly predicted: readonly Prediction[];
  /** How sure the model was of what is wrong, from 0 to 1: of a class that it is not of, or that it is not of a class that it is of. */
  readonly probability: number;
}

/** What is kept of a mistake until all samples have been looked at. */
interface Found {
  readonly index: number;
  readonly predicted: readonly Prediction[];
  readonly probability: number;
}

const rules = { ...signalRules, count: integer(1, 2 ** 20), batchSize: size };

/**
 * The samples that a model is most sure of and wrong about, the surest first: often they show labels that are wrong, classes that overlap, or
 * what the pictures for training lack. Probabilities are those that {@link Model.classify} tells, of a network that was calibrated the
 * calibrated ones.
 *
 * @example
 * ```ts
 * for (const { path, index, labels, predicted, probability } of await mistakes(model, data.validation, { count: 10 })) {
 *   console.log(path ?? index, labels[0]?.name, "was taken for", predicted[0]?.name, probability);
 * }
 * ```
 *
 * Rejects with `ERR_SHAPE` or `ERR_LABEL` if the data do not fit the network, `ERR_NON_FINITE_LOSS` if logits are not finite,
 * `ERR_DATA_CORRUPT` or `ERR_IO` if a picture cannot be read, `ERR_INVALID_ARGUMENT` for options that cannot be.
 */
export async function mistakes(model: Model, data: Dataset, options?: MistakesOptions): Promise<Mistake[]> {
  const { count = 24, batchSize = 128, signal } = checkOptions(options, rules);
  const native = nativeOf(model);
  nativeDataOf(data);
  const { labelKind, numClasses, classNames = [] } = data;
  const isMulti = labelKind === "multi";
  if (((parseInterface(native.interface).labelKind ?? "single") === "multi") !== isMulti) {
    const expected = isMulti ? "data of one label each, as the model's (setInterface says otherwise)" : "data of any number of labels, as the model's";
    throw new ResNetError("ERR_LABEL", `data: expected ${expected}, got one whose labelKind is "${labelKind}"`);
  }
  const look = async ({ images }: Batch, top: number): Promise<Prediction[][]> => {
    const told = (await classifyWith(native, images, { top, signal })) as Prediction[][];
    return told.map((classes) => classes.map((one) => ({ ...one, name: classNames[one.label] ?? one.name })));
  };
  let outputs: number | undefined;
  let found: Found[] = [];
  for await (const batch of data.batches({ batchSize })) {
    const told = await look(batch, isMulti || outputs === undefined ? MAX_U32 : 1);
    outputs ??= told[0]!.length;
    if (numClasses > outputs) throw new ResNetError("ERR_LABEL", `data: expected at most the network's ${outputs} classes, got ${numClasses}`);
    for (const [i, index] of batch.indices.entries()) {
      const wrong = isMulti ? wrongDecisions(told[i]!, labelsOf(batch, i)) : wrongClass(told[i]!, batch.labels[i]!);
      if (wrong !== undefined) found.push({ index, ...wrong });
    }
    found = found.toSorted((a, b) => b.probability - a.probability || a.index - b.index).slice(0, count);
  }
  if (found.length === 0) return [];
  const shown = data.subset(found.map(({ index }) => index));
  const paths = await pathsOf(shown, signal);
  const all: Mistake[] = [];
  for await (const batch of shown.batches({ batchSize })) {
    const told = await look(batch, MAX_U32);
    for (const [i, place] of batch.indices.entries()) {
      const own = new Set(labelsOf(batch, i));
      const path = paths?.[place];
      all.push({ ...found[place]!, ...(path !== undefined && { path }), labels: told[i]!.filter(({ label }) => own.has(label)) });
    }
  }
  return all;
}

/** The classes of a batch's sample. */
export function labelsOf({ labels, indices }: Pick<Batch, "labels" | "indices">, i: number): number[] {
  if (labels.length === indices.length && labels instanceof Uint32Array) return [labels[i]!];
  const classes = labels.length / indices.length;
  return [...labels.subarray(i * classes, (i + 1) * classes)].flatMap((value, label) => (value === 1 ? [label] : []));
}

function wrongClass([best]: readonly Prediction[], label: number): Omit<Found, "index"> | undefined {
  return best!.label === label ? undefined : { predicted: [best!], probability: best!.probability };
}

function wrongDecisions(told: readonly Prediction[], labels: readonly number[]): Omit<Found, "index"> | undefined {
  const own = new Set(labels);
  const predicted = told.filter(({ probability }) => probability >= 0.5);
  const sure = told.flatMap(({ label, probability }) => {
    if (own.has(label) === probability >= 0.5) return [];
    return [own.has(label) ? 1 - probability : probability];
  });
  return sure.length === 0 ? undefined : { predicted, probability: Math.max(...sure) };
}

/** The files of a data set, if it is made of files. */
async function pathsOf(data: Dataset, signal: AbortSignal | undefined): Promise<string[] | undefined> {
  try {
    const details = await cancellable(signal, (flag) => nativeDataOf(data).inspect(flag));
    return details.map(({ path }) => path);
  } catch (error) {
    if (error instanceof ResNetError && error.code === "ERR_INVALID_ARGUMENT") return undefined;
    throw error;
  }
}
