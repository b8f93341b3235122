import { lstat, open, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Failure } from "./failure.js";

/** The chart's file beside a model's. */
export function chartBeside(file: string): string {
  return `${file.replace(/\.safetensors$/, "")}.svg`;
}

/** Refuses files that cannot be written, or that are there unless `force` lets them be replaced, before the work begins. */
export async function checkTargets(files: readonly string[], force: boolean): Promise<void> {
  for (const file of files) {
    const there = await lstat(file).catch(() => undefined);
    if (there?.isDirectory()) throw unwritable(file, "it is a folder");
    // A device's place must not be taken either.
    if (there && !there.isFile() && !there.isSymbolicLink()) throw unwritable(file, "it is not a regular file");
    if (there && !force) throw unwritable(file, "it is there already; --force replaces it");
  }
  for (const folder of new Set(files.map((file) => dirname(resolve(file))))) {
    const why = await refusal(folder);
    if (why !== undefined) throw unwritable(files[0]!, why);
  }
}

/** Why no file can be made in a folder, if none can. Rights are not all that counts: a file system may be read-only. */
async function refusal(folder: string): Promise<string | undefined> {
  const trial = join(folder, `.resnet-native.${process.pid}`);
  try {
    await (await open(trial, "wx")).close();
    await rm(trial);
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? `there is no folder ${folder}` : message;
  }
}

function unwritable(path: string, why: string): Failure {
  return new Failure("ERR_IO", `--output: expected a file that can be written, got ${path}: ${why}`);
}
