import { csvLog, type FitListener, jsonlLog, TensorBoard } from "../index.js";
import { text } from "./option.js";

/** The option of a log. */
export const logOption = {
  log: { ...text("also keeps a log: FILE.csv has a row for each epoch, FILE.jsonl a line for each event, any other name is a folder for TensorBoard", "PATH", undefined, "a file or a folder"), isOnce: true },
};

/** What keeps the log, if one is wanted. */
export function logOf(path: string | undefined): FitListener[] {
  if (path === undefined) return [];
  if (isTable(path)) return [csvLog(path)];
  return [/\.jsonl$/i.test(path) ? jsonlLog(path) : new TensorBoard(path).onEvent];
}

/** Whether a log is a table, which takes the place of a file that is there; to others is added. */
export function isTable(path: string): boolean {
  return /\.csv$/i.test(path);
}
