import { stat } from "node:fs/promises";
import type { Skipped } from "../index.js";
import { Failure } from "./failure.js";
import { text } from "./option.js";
import { didYouMean } from "./suggestion.js";

/** The operand of a folder with pictures. */
export const folderOperand = text("folder of pictures: one folder for each class, or such folders within train and val", "FOLDER", undefined, "a folder of pictures");

/** Refuses what is no folder and no list, before anything else is done. */
export async function checkFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() || (found?.isFile() && /\.(csv|jsonl)$/i.test(folder))) return;
  const got = found ? `${folder}, which is a file` : `${folder}, which is not there`;
  const near = didYouMean(folder, ["fashion-mnist"]);
  throw new Failure("ERR_DATA_NOT_FOUND", `FOLDER: expected a folder of pictures, or a list of them (.csv, .jsonl), got ${got}${near}`);
}

/** What was passed over, in words; nothing if nothing was. */
export function passedOver({ hidden, links, others, unreadable, emptyClasses }: Skipped): string {
  const counts = [
    [hidden, "hidden"],
    [links, "links"],
    [others, "no pictures"],
    [unreadable.length, "unreadable"],
    [emptyClasses.length, "empty classes"],
  ] as const;
  const said = counts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  return said.length > 0 ? `passed over: ${said.join(", ")}` : "";
}
