import { randomUUID } from "node:crypto";
import { lstat, mkdtemp, readFile, realpath, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { getSystemErrorMap } from "node:util";
import { Failure, Misuse } from "./failure.js";
import { oneLine } from "./option.js";

/** The chart's file beside a model's. */
export function chartBeside(file: string): string {
  return `${file.replace(/\.safetensors$/, "")}.svg`;
}

/** Refuses files that cannot be written, or that are there unless `force` lets them be replaced, before the work begins. */
export async function checkTargets(files: readonly string[], force: boolean, option = "--output"): Promise<void> {
  for (const file of files) {
    const why = await refusal(file, force).catch(systemReason);
    if (why !== undefined) throw new Failure("ERR_IO", `${option}: expected a file that can be written, got ${file}: ${why}`);
  }
}

/** Refuses to write over the model that is read. */
export async function checkIsOther(output: string, model: string): Promise<void> {
  const [from, to] = await Promise.all([model, output].map(async (path) => realpath(path).catch(() => path)));
  if (from === to) throw new Misuse(`--output: expected another file than the model's, got ${oneLine(output)} for both`);
}

/** Puts a text in a file's place, as a whole; a link stays one. */
export async function replace(file: string, text: string): Promise<void> {
  const place = await realpath(file).catch(() => file);
  const temporary = join(dirname(place), `.resnet-native-${randomUUID()}`);
  try {
    await writeFile(temporary, text);
    await rename(temporary, place);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Why a file cannot be written, if it cannot. */
async function refusal(file: string, force: boolean): Promise<string | undefined> {
  if (/[\\/]$/.test(file)) return "it is a folder";
  const isThere = await lstat(file).then(() => true, unlessMissing);
  const place = await realpath(file).catch(() => file);
  const found = await stat(place).catch(() => undefined);
  if (found?.isDirectory()) return "it is a folder";
  // A device's place must not be taken either.
  if (found && !found.isFile()) return "it is not a regular file";
  if (isThere && !force) return "it is there already; --force replaces it";
  const folder = dirname(place);
  // Rights are not all that counts: a file system may be read-only.
  const trial = await mkdtemp(join(folder, ".resnet-native-")).catch(unlessMissing);
  if (trial === false) return (await stat(folder).catch(() => undefined)) ? "no file can be made there" : `there is no folder ${folder}`;
  try {
    return found && (await irreplaceable(place, trial));
  } finally {
    await rm(trial, { recursive: true, force: true });
  }
}

/** What the system says, without Node's code, call and paths, which name temporary files. */
export function systemReason(error: NodeJS.ErrnoException): string {
  return getSystemErrorMap().get(error.errno ?? 0)?.[1] ?? error.message;
}

/** False for what is not there. */
function unlessMissing(error: NodeJS.ErrnoException): false {
  if (error.code !== "ENOENT") throw error;
  return false;
}

/** Why nothing can take a file's place, if nothing can, by the example of a folder, for which no system gives up a file. */
async function irreplaceable(file: string, folder: string): Promise<string | undefined> {
  const mounts = await readFile("/proc/self/mountinfo", "utf8").catch(() => "");
  const escaped = file.replaceAll(/[\s\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);
  if (mounts.split("\n").some((line) => line.split(" ")[4] === escaped)) return "it is a mount point, which nothing can replace";
  if (process.platform === "win32") return undefined;
  try {
    await rename(folder, file);
    // The file has gone by itself.
    await rmdir(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EPERM" || code === "EACCES" || code === "EBUSY") return `nothing can replace it (${message})`;
  }
  return undefined;
}

/** The file with another ending beside a model or its folder; of one of the hub, here, by the last part of its name. */
export function besides(model: string, ending: string): string {
  const [, name] = /^hf:\/\/[^/]*\/([^@]+)/.exec(model) ?? [];
  return `${name ?? model.replace(/\.safetensors$|(?<=[^\\/])[\\/]+$/i, "")}${ending}`;
}
