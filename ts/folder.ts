import { renameSync } from "node:fs";
import { type FileHandle, open, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { addon, type NativeModel } from "./binding.js";
import { cacheFolder, type DownloadProgress } from "./download.js";
import { ownVersion } from "./environment.js";
import { ResNetError, systemReason, translated } from "./errors.js";
import type { Description } from "./description.js";
import type { Header, Read } from "./hub/folders.js";
import { parseInterface } from "./interface.js";
import { type Rule, shown, unexpected } from "./options.js";
import { cancellable, type SignalOptions } from "./signal.js";
import { Staging, syncFolder } from "./staging.js";

/** Options of {@link Model.saveFolder}. */
export interface SaveFolderOptions extends SignalOptions {
  /** The weights' licence by the hub's short name, such as `"mit"` or `"cc-by-4.0"`; by default the card says that none is recorded. */
  license?: string;
}

/** The rule for what stands in the front matter as it is. */
export const licenseRule: Rule<string> = {
  expected: 'a short name such as "apache-2.0"',
  accepts: (value) => typeof value === "string" && /^[a-z0-9][\w.+-]{0,60}$/i.test(value),
};

/** What a path leads to: a file that tells its network, with notes for who has read it, or weights and what a folder tells of theirs. */
export type Found = { readonly file: string; readonly notes: () => readonly string[] } | { readonly weights: string; readonly read: Read };

const [MODEL, CONFIG, CARD] = ["model.safetensors", "config.json", "README.md"] as const;
/** More than the header of any network's file. */
const MOST_HEADER = 2 ** 28;

// Who has no folders does not wait for it to load.
const folders = async () => import("./hub/folders.js");

/** Writes a model's folder, see {@link Model.saveFolder}. */
export async function writeFolder(native: NativeModel, to: string, { license, signal }: SaveFolderOptions): Promise<void> {
  const folder = resolve(to);
  const parameters = translated(() => native.numParameters);
  const { architectureOf, cardOf, classesOf, configOf, MARK } = await folders();
  const classes = classesOf(native.description);
  // No other program knows what its bytes mean.
  const architecture = native.quantized ? undefined : architectureOf(native.description, classes, described);
  const written = { architecture, classes, parameters, inChannels: native.inChannels!, interface: parseInterface(native.interface) };
  const made = ["resnet-native", ownVersion()].filter(Boolean).join(" ");
  const failed = (cause: unknown) => new ResNetError("ERR_IO", `cannot write ${folder}: ${systemReason(cause)}`, { cause });
  const io = async <T>(does: () => Promise<T> | T): Promise<T> => {
    try {
      return await does();
    } catch (cause) {
      throw failed(cause);
    }
  };
  const isThere = async () => {
    const found = await stat(folder).catch(() => undefined);
    if (found?.isDirectory() === false) throw new ResNetError("ERR_IO", `cannot write ${folder}: it is a file; expected the name of a folder`);
    return found !== undefined;
  };
  await isThere();
  const above = dirname(folder);
  if (!(await stat(above).catch(() => undefined))?.isDirectory()) throw new ResNetError("ERR_IO", `cannot write ${folder}: there is no folder ${above}`);
  // Beside it, so that a rename brings it there.
  const staging = await io(() => new Staging(folder));
  try {
    const [weights, config, card] = [MODEL, CONFIG, CARD].map((name) => join(staging.folder, name)) as [string, string, string];
    await cancellable(signal, (flag) => native.save(weights, flag)).catch((error: unknown) => {
      if (!(error instanceof ResNetError)) throw error;
      throw new ResNetError(error.code, error.message.replaceAll(staging.folder, folder), { cause: error });
    });
    const header = await ownHeader(weights);
    await io(async () => writeFile(config, configOf({ ...written, header }), { flush: true }));
    await io(async () => writeFile(card, cardOf(basename(folder), written, license, made), { flush: true }));
    signal?.throwIfAborted();
    if (!(await isThere())) {
      await io(() => syncFolder(staging.folder));
      staging.unlock();
      const cause = await rename(staging.folder, folder).then(() => undefined, (cause: Error) => cause);
      if (cause === undefined) return await io(() => syncFolder(above));
      // Another call may have made it in between.
      if (!(await isThere())) throw failed(cause);
    }
    const present = await readFile(join(folder, CARD), "utf8").catch(() => undefined);
    // A card that somebody has written, or made their own, is theirs.
    if (present === undefined || present.includes(MARK)) await io(async () => rename(card, join(folder, CARD)));
    // One right after the other: who is killed between them has the new config.json, which names its weights' digest, beside the old weights.
    await io(() => {
      renameSync(config, join(folder, CONFIG));
      renameSync(weights, join(folder, MODEL));
      syncFolder(folder);
    });
  } finally {
    staging.remove();
  }
}

/** A recipe's network in full. */
function described(recipe: Description): string {
  const model = new addon.NativeModel(JSON.stringify(recipe), { seed: 0, compute: {} });
  const { description } = model;
  model.dispose();
  return description;
}

/** Finds the model of a path, or of a name of the Hugging Face hub, which is downloaded first. */
export async function findModel(path: string, signal: AbortSignal | undefined, onProgress: ((progress: DownloadProgress) => void) | undefined): Promise<Found> {
  const folder = path.startsWith("hf://") ? await download(path, signal, onProgress) : path;
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) return { file: folder, notes: () => [] };
  const { notesOn, parseConfig, WEIGHTS } = await folders();
  const unreadable = (file: string) => (cause: Error) => {
    throw new ResNetError("ERR_IO", `cannot read ${file}: ${systemReason(cause)}`, { cause });
  };
  const names = await readdir(folder).catch(unreadable(folder));
  const weights = WEIGHTS.find((name) => names.includes(name));
  const wrong = (expected: string, got: string, cause?: unknown) => new ResNetError("ERR_MODEL_FILE", `${folder}: expected ${expected}, got ${got}`, { cause });
  if (weights === undefined) throw wrong(`a model's file, or a folder with ${WEIGHTS.join(" or ")}`, `a folder with ${names.length === 0 ? "nothing" : shown(names.slice(0, 5).join(", "))}`);
  const file = join(folder, weights);
  const config = join(folder, CONFIG);
  const text = names.includes(CONFIG) ? await readFile(config, "utf8").catch(unreadable(config)) : undefined;
  const read = <T>(parse: () => T): T => {
    try {
      return parse();
    } catch (cause) {
      throw new ResNetError("ERR_MODEL_FILE", `${config}: ${(cause as Error).message}`, { cause });
    }
  };
  const header = await ownHeader(file);
  if (header !== undefined) return { file, notes: () => (text === undefined ? [] : read(() => notesOn(text, header, described))) };
  const why = weights === MODEL ? await cutOff(file) : undefined;
  if (why !== undefined) throw new ResNetError("ERR_MODEL_FILE", `${file}: expected weights, got ${why}`);
  if (text === undefined) throw wrong(`a description in ${MODEL}, or ${CONFIG} beside it`, "neither");
  return { weights: file, read: read(() => parseConfig(text)) };
}

/** What the header of a file of ours tells beside its tensors. What is damaged is told by whoever reads it. */
async function ownHeader(file: string): Promise<Header | undefined> {
  const handle = await open(file).catch(() => undefined);
  try {
    const length = handle && (await headerLength(handle));
    if (length === undefined || length > MOST_HEADER) return undefined;
    const header = Buffer.alloc(length);
    await handle!.read(header, 0, length, 8);
    const { __metadata__: told } = JSON.parse(header.toString()) as { __metadata__?: Header };
    return told?.resnet_native === undefined ? undefined : told;
  } catch {
    return undefined;
  } finally {
    await handle?.close();
  }
}

/** Bytes of a header that is in a file as a whole. */
async function headerLength(handle: FileHandle): Promise<number | undefined> {
  const length = Buffer.alloc(8);
  const { bytesRead } = await handle.read(length, 0, 8, 0);
  const size = Number(length.readBigUInt64LE());
  return bytesRead === 8 && 8 + size <= (await handle.stat()).size ? size : undefined;
}

/** What a file is that has not even a header of tensors; nothing if it has one, or cannot be read, which its reader tells. */
async function cutOff(file: string): Promise<string | undefined> {
  const handle = await open(file).catch(() => undefined);
  try {
    if (handle === undefined || (await headerLength(handle)) !== undefined) return undefined;
    const { size } = await handle.stat();
    return size === 0 ? "an empty file" : `a file of ${size} bytes that is cut off within its header, or of another form`;
  } finally {
    await handle?.close();
  }
}

/** The folder of this machine that has a model of the hub. */
async function download(address: string, signal: AbortSignal | undefined, onProgress: ((progress: DownloadProgress) => void) | undefined): Promise<string> {
  const { fetched, parseAddress } = await folders();
  try {
    parseAddress(address);
  } catch (cause) {
    throw unexpected("path", (cause as Error).message.replace("expected ", ""), address);
  }
  const { HF_ENDPOINT: hubUrl, HF_TOKEN: accessToken } = process.env;
  const cache = cacheFolder({ name: "hub" });
  let thrown: { readonly error: unknown } | undefined;
  const tell = (progress: DownloadProgress) => {
    try {
      onProgress?.(progress);
    } catch (error) {
      thrown = { error };
      throw error;
    }
  };
  try {
    if (cache === undefined) throw new Error("there is no home folder, and so no cache to keep it in");
    return await fetched(address, { cache, signal, onProgress: tell, hubUrl: hubUrl || undefined, accessToken: accessToken || undefined });
  } catch (cause) {
    signal?.throwIfAborted();
    if (thrown) throw thrown.error;
    const { message, cause: deeper } = cause as Error & { cause?: { code?: string } };
    const why = [message, deeper?.code === "ERR_MODULE_NOT_FOUND" ? undefined : deeper?.code].filter(Boolean).join(": ");
    throw new ResNetError("ERR_DATA_NOT_FOUND", `${address}: it cannot be had from ${hubUrl || "https://huggingface.co"}: ${why}`, { cause });
  }
}
