import { checkEvent, type FitListener } from "./events.js";
import { REQUIRED_COLUMNS, checkHistory, checkRow, COLUMNS, type EpochRow } from "./history.js";
import { check, filePath, path } from "./options.js";
import { append, endsWithinLine, writeMade, writing } from "./written-file.js";

/**
 * A listener of {@link fit} that keeps a table of the epochs, a row each under the names of an {@link EpochRow}, as a CSV file. The first epoch that it
 * hears of takes the place of a file that is there, with the rows of those before, where the run goes on from a checkpoint; the next ones are
 * added. What was not measured is empty.
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
  const line = (cells: readonly unknown[]) => `${cells.join(",")}\n`;
  const lineOf = (row: EpochRow) => line(COLUMNS.map((column) => row[column] ?? ""));
  let isBegun = false;
  return async (event, history) => {
    if (checkEvent(event).type !== "epoch") return;
    if (isBegun) append(to, lineOf(checkRow("event", event as EpochRow, REQUIRED_COLUMNS)));
    else await writeMade(to, async () => [line(COLUMNS), ...checkHistory(history, REQUIRED_COLUMNS).map(lineOf)].join(""));
    isBegun = true;
  };
}

/**
 * A listener of {@link fit} that adds each event to a file, as a line of JSON with its `time` (ISO 8601) and what the event tells. Of steps it has the
 * newest as often as the event loop gets to it. What is in the file stays; a last line that is torn, as by a full disk, is ended first.
 *
 * The run rejects with `ERR_IO` if the file cannot be written.
 */
export function jsonlLog(file: string | URL): FitListener {
  const to = filePath("file", check("file", file, path));
  let isBegun = false;
  return (event) => {
    const line = `${JSON.stringify({ time: new Date().toISOString(), ...checkEvent(event) })}\n`;
    append(to, !isBegun && writing(to, () => endsWithinLine(to)) ? `\n${line}` : line);
    isBegun = true;
  };
}
