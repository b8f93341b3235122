import { type Dataset, type History, type Model, report, ResNetError, type TrainingData } from "../index.js";
import { Failure } from "./failure.js";
import { text } from "./option.js";
import type { Screen } from "./screen.js";

/** The option of a report. */
export const reportOption = {
  report: { ...text("also writes a report to this HTML file: curves, confusion, the most confident mistakes as pictures, a model card", "FILE", undefined, "a file"), isOnce: true },
};

/** What is reported of. */
interface Reported {
  readonly model: Model;
  readonly history: History | undefined;
  readonly data: Dataset | TrainingData;
  readonly title: string;
  /** What a failure leaves nevertheless, in words. */
  readonly beside: string;
}

/** Writes a report, if one is wanted; the file, or nothing if that was interrupted. */
export async function writeReport(file: string | undefined, { model, history, data, title, beside }: Reported, screen: Screen): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const { signal } = screen.interrupt;
  screen.status.show("Writing the report");
  try {
    await report(model, history, data, { file, title, signal });
    return file;
  } catch (error) {
    if (signal.aborted && error === signal.reason) return undefined;
    if (!(error instanceof ResNetError)) throw error;
    throw new Failure(error.code, `the report: ${error.message}${beside}`);
  } finally {
    screen.status.clear();
  }
}
