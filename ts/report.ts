import { type Dataset, datasetRule, nativeDataOf } from "./data.js";
import { generator } from "./environment.js";
import { gather, type Subject } from "./gather-findings.js";
import { REQUIRED_COLUMNS, checkHistory, type EpochRow, History } from "./history.js";
import { type Model, nativeOf } from "./models.js";
import { checkOptions, filePath, integer, path, type Rule, size, unexpected } from "./options.js";
import { type SignalOptions, signalRules } from "./signal.js";
import { partsOf, type TrainingData } from "./training-data.js";
import { writeMade } from "./written-file.js";

/** Options of {@link report}. */
export interface ReportOptions extends SignalOptions {
  /** The HTML file that is written; one that is there is replaced. */
  file: string | URL;
  /** What stands above it, not blank, by default the network and the size of its images. */
  title?: string;
  /** How many of the most confident mistakes are shown, from 0 to 200, default 24; see {@link mistakes}. */
  mistakes?: number;
  /** Images that are computed at a time, default 128. */
  batchSize?: number;
}

const titleRule: Rule<string> = { expected: "a text that is not blank", accepts: (value) => typeof value === "string" && value.trim() !== "" };
const rules = { ...signalRules, file: path, title: titleRule, mistakes: integer(0, 200), batchSize: size };

/**
 * Measures a model and writes what there is to know of its training as one HTML file, which needs no network: curves, confusion matrix,
 * precision and recall of each class, the most confident mistakes as pictures with heat maps over them ({@link gradCam}), the first layer's filters, the architecture, augmented
 * samples, configuration, environment, and a model card of what is known. Light and dark by the reader's scheme, and fit to be printed. What
 * there is nothing for is named at its end, with the reason.
 *
 * The model is measured on `data.validation`, or on the training images where there are no others, which the report then says; a data set by
 * itself is what it is measured on. Classes' names, paths and titles are text and nothing else, whatever is in them.
 *
 * @param history - What {@link fit} gave, or its rows; `undefined` for a model whose training is not at hand. What the training was told, and
 *   how it changed its images, is known of a `History` from `fit` in the same process.
 *
 * @example
 * ```ts
 * const history = await fit(model, data, { epochs: 10, augment: [flip()] });
 * await report(model, history, data, { file: "report.html", title: "Birds, second try" });
 * ```
 *
 * Rejects with `ERR_IO` if the file cannot be written, before anything is computed; `ERR_SHAPE` or `ERR_LABEL` if the data do not fit the
 * network, `ERR_DATA_CORRUPT` if a picture cannot be read, `ERR_INVALID_ARGUMENT` for arguments that cannot be. In any error the file that
 * is there stays.
 */
export async function report(model: Model, history: History | readonly EpochRow[] | undefined, data: Dataset | TrainingData, options: ReportOptions): Promise<void> {
  const { file: to, title, mistakes = 24, batchSize = 128, signal } = checkOptions(options, rules);
  nativeOf(model);
  const rows = history === undefined ? undefined : checkHistory(history, REQUIRED_COLUMNS);
  const subject = { model, history: history instanceof History ? history : undefined, rows, ...measuredOf(data), title, mistakes, batchSize, signal };
  if (to === undefined) throw unexpected("file", path.expected, to);
  const file = filePath("file", to);
  await writeMade(file, async () => {
    const findings = await gather(subject);
    // Who writes no report does not wait for it to load.
    const { reportPage } = await import("./report/sections.js");
    const page = await reportPage(findings, generator());
    signal?.throwIfAborted();
    return page;
  });
}

/** What is measured on, and what was trained on. */
function measuredOf(data: Dataset | TrainingData): Pick<Subject, "train" | "measured" | "role" | "source"> {
  if (datasetRule.accepts(data)) return { measured: data as Dataset, role: "given" };
  const { train, validation } = partsOf(data);
  nativeDataOf(train!, "data.train");
  const { source } = data as { source?: unknown };
  const told = typeof source === "string" ? { source: source === "sample" ? "the sample in this package" : source } : {};
  if (validation === undefined) return { train, measured: train!, role: "training", ...told };
  nativeDataOf(validation, "data.validation");
  return { train, measured: validation, role: "validation", ...told };
}
