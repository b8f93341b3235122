import { appendFileSync } from "node:fs";
import { ResNetError } from "./errors.js";
import type { FitListener } from "./events.js";
import type { EpochRow } from "./history.js";
import { check, filePath, path } from "./options.js";
import { writeMade } from "./written-file.js";

/** Columns of a table, one for each number of a row. */
const COLUMNS = ["epoch", "loss", "accuracy", "validationLoss", "validationAccuracy", "lr", "seconds", "waiting"] as const satisfies readonly (keyof EpochRow)[];

/**
 * A listener of {@link fit} that keeps a table of the epochs, a row each under the names of an {@link EpochRow}, as a CSV file: anew and as a whole
 * after each epoch, so that of a run that goes on from a checkpoint it has the epochs before too. What was not measured is empty.
 *
 * @example
 * ```ts
 * await fit(model, data, { epochs: 10, onEvent: [csvLog("epochs.csv"), jsonlLog("events.jsonl")] });
 * ```
 *
 * The run rejects with `ERR_IO` if the file cannot be written.
 */
export function csvLog(file: string | URL): FitListener {
  const to = filePath("file", check("file", file, path));
  return async ({ type }, { rows }) => {
    if (type !== "epoch") return;
    const lines = [COLUMNS, ...rows.map((row) => COLUMNS.map((column) => row[column] ?? ""))].map((cells) => `${cells.join(",")}\n`);
    await writeMade(to, async () => lines.join(""));
  };
}

/**
 * A listener of {@link fit} that adds each event to a file, as a line of JSON with its `time` (ISO 8601) and what the event tells. Of steps it has the
 * newest as often as the event loop gets to it.
 *
 * The run rejects with `ERR_IO` if the file cannot be written.
 */
export function jsonlLog(file: string | URL): FitListener {
  const to = filePath("file", check("file", file, path));
  return (event) => {
    try {
      appendFileSync(to, `${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`);
    } catch (cause) {
      throw new ResNetError("ERR_IO", `cannot write ${to}: ${(cause as Error).message}`, { cause });
    }
  };
}
