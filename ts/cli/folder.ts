import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Skipped } from "../index.js";
import { counted } from "./counted.js";
import { Failure } from "./failure.js";
import { text } from "./option.js";
import { didYouMean } from "./suggestion.js";

/** The operand of a folder with pictures. */
export const folderOperand = text("folder of pictures: one folder for each class, or such folders within train and val", "FOLDER", undefined, "a folder of pictures");

/** Refuses what is no folder and no list, before anything else is done. */
export async function checkFolder(folder: string, operand = "FOLDER"): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() || (found?.isFile() && /\.(csv|jsonl)$/i.test(folder))) return;
  const missing = /^https?:/i.test(folder) ? `${folder}, which must be on this machine: download it first` : `${folder}, which is not there`;
  const got = found ? `${folder}, which is a file` : missing;
  const near = didYouMean(folder, ["fashion-mnist"]);
  throw new Failure("ERR_DATA_NOT_FOUND", `${operand}: expected a folder of pictures, or a list of them (.csv, .jsonl), got ${got}${near}`);
}

/** What was passed over, in words; nothing if nothing was. */
export function passedOver({ hidden, links, others, unreadable, emptyClasses, untrainedClasses, test }: Skipped): string {
  const counts = [
    [unreadable.length, "file that is no picture", "files that are no pictures"],
    [others, "file of another kind", "files of other kinds"],
    [emptyClasses.length, "empty class", "empty classes"],
    [untrainedClasses.length, "class for validation alone", "classes for validation alone"],
    [test, "picture of the part test", "pictures of the part test"],
    [links, "link", "links"],
    [hidden, "hidden file or folder", "hidden files and folders"],
  ] as const;
  const said = counts.filter(([count]) => count > 0).map(([count, one, more]) => counted(count, one, more));
  return said.length > 0 ? `passed over: ${said.join(", ")}` : "";
}

/** The pictures in a folder, by their names, and those in the folders within it, in the order of names. */
export async function* picturesIn(folder: string): AsyncGenerator<string> {
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.name.startsWith(".")) continue;
    if (entry.isFile() && /\.(jpe?g|jpe|jfif|png|webp)$/i.test(entry.name)) yield path;
    if (entry.isDirectory()) yield* picturesIn(path);
  }
}

/** A picture in a folder, or beside a list, to show what can be done with one. */
export async function somePicture(folder: string, { unreadable }: Skipped): Promise<string | undefined> {
  const known = new Set(unreadable.map(({ path }) => path));
  try {
    const within = /\.(csv|jsonl)$/i.test(folder) ? dirname(folder) : folder;
    for await (const path of picturesIn(within)) if (!known.has(path)) return path;
  } catch {
    // The folder has gone.
  }
  return undefined;
}
