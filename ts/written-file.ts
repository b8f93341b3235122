import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { addon } from "./binding.js";
import { ResNetError, systemReason, translate, translated } from "./errors.js";

/** Adds to a file, which is made if it is not there. */
export function append(file: string, content: string | Uint8Array): void {
  writing(file, () => appendFileSync(file, content));
}

/** Whether a file ends within a line, as one does whose writer was stopped or found no room. */
export function endsWithinLine(file: string): boolean {
  const there = statSync(file, { throwIfNoEntry: false });
  if (!there?.isFile() || there.size === 0) return false;
  const opened = openSync(file, "r");
  const last = Buffer.alloc(1);
  readSync(opened, last, 0, 1, there.size - 1);
  closeSync(opened);
  return last[0] !== 0x0a;
}

/** Does what a file needs to be written; where that fails it is `ERR_IO`. */
export function writing<T>(file: string, does: () => T): T {
  try {
    return does();
  } catch (cause) {
    throw new ResNetError("ERR_IO", `cannot write ${file}: ${systemReason(cause)}`, { cause });
  }
}

/**
 * Puts what is made in a file's place, as a whole or not at all; a link stays one. Whether it can be written shows before the work begins, as
 * `ERR_IO`; errors of the work are passed on.
 */
export async function writeMade(file: string, make: () => Promise<string | Uint8Array>): Promise<void> {
  const replacement = translated(() => new addon.NativeReplacement(file));
  try {
    const content = await make();
    await replacement.finish(typeof content === "string" ? Buffer.from(content) : content).catch((error: unknown) => {
      throw translate(error);
    });
  } finally {
    replacement.abandon();
  }
}

/** Makes a folder and those above it. Not mkdir's `recursive`: it hides a read-only disk's error and hangs in /proc. */
export function makeFolder(folder: string): void {
  const above = dirname(folder);
  if (!existsSync(above) && above !== folder) makeFolder(above);
  try {
    mkdirSync(folder);
  } catch (error) {
    const there = statSync(folder, { throwIfNoEntry: false });
    if (there?.isFile()) throw new Error("it is a file; expected a folder", { cause: error });
    if (!there?.isDirectory()) throw error;
  }
}
