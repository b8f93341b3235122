import { appendFileSync, closeSync, openSync, readSync, statSync } from "node:fs";
import { open, realpath, rename, rm, stat } from "node:fs/promises";
import { ResNetError } from "./errors.js";

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
export function writing(file: string, does: () => unknown): void {
  try {
    does();
  } catch (cause) {
    throw unwritten(file, cause as Error);
  }
}

/**
 * Puts what is made in a file's place, as a whole or not at all; a link stays one. Whether it can be written shows before the work begins, as
 * `ERR_IO`; errors of the work are passed on.
 */
export async function writeMade(file: string, make: () => Promise<string | Uint8Array>): Promise<void> {
  const place = await realpath(file).catch(() => file);
  const temporary = `${place}.${crypto.randomUUID()}`;
  const io = async <T>(does: () => Promise<T>): Promise<T> =>
    does().catch((cause: Error) => {
      throw unwritten(file, cause);
    });
  const there = await stat(place).catch(() => undefined);
  if (there !== undefined && !there.isFile()) throw unwritten(file, new Error(`it is a ${there.isDirectory() ? "folder" : "device"}; expected the name of a file`));
  const handle = await io(async () => open(temporary, "wx", there?.mode));
  try {
    try {
      const content = await make();
      await io(async () => handle.writeFile(content));
      await io(async () => handle.sync());
    } finally {
      await handle.close();
    }
    await io(async () => rename(temporary, place));
  } finally {
    await rm(temporary, { force: true });
  }
}

function unwritten(file: string, cause: Error): ResNetError {
  return new ResNetError("ERR_IO", `cannot write ${file}: ${cause.message}`, { cause });
}
