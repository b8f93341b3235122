import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { addon, type NativeModel } from "./binding.js";
import { cacheFolder, type DownloadProgress } from "./download.js";
import { ownVersion } from "./environment.js";
import { ResNetError, translated } from "./errors.js";
import type { Read } from "./hub/folders.js";
import { parseInterface } from "./interface.js";
import { type Rule, shown, unexpected } from "./options.js";
import { cancellable, type SignalOptions } from "./signal.js";

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

/** What a path leads to: a file that tells its network, or weights and what a folder tells of theirs. */
export type Found = { readonly file: string } | { readonly weights: string; readonly read: Read };

const NAMES = ["model.safetensors", "config.json", "README.md"] as const;
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
  const architecture = architectureOf(native.description, classes, (recipe) => {
    const other = new addon.NativeModel(JSON.stringify(recipe), { seed: 0, compute: {} });
    const { description } = other;
    other.dispose();
    return description;
  });
  const written = { architecture, classes, parameters, inChannels: native.inChannels!, interface: parseInterface(native.interface) };
  const made = ["resnet-native", ownVersion()].filter(Boolean).join(" ");
  const io = async <T>(does: () => Promise<T>): Promise<T> =>
    does().catch((cause: Error) => {
      throw new ResNetError("ERR_IO", `cannot write ${folder}: ${cause.message}`, { cause });
    });
  const isThere = async () => {
    const found = await stat(folder).catch(() => undefined);
    if (found?.isDirectory() === false) throw new ResNetError("ERR_IO", `cannot write ${folder}: it is a file; expected the name of a folder`);
    return found !== undefined;
  };
  await isThere();
  const above = dirname(folder);
  if (!(await stat(above).catch(() => undefined))?.isDirectory()) throw new ResNetError("ERR_IO", `cannot write ${folder}: there is no folder ${above}`);
  // Beside it, so that a rename brings it there.
  const temporary = `${folder}.${crypto.randomUUID()}`;
  await io(async () => mkdir(temporary));
  try {
    const [weights, config, card] = NAMES.map((name) => join(temporary, name)) as [string, string, string];
    await cancellable(signal, (flag) => native.save(weights, flag));
    await io(async () => writeFile(config, configOf(written), { flush: true }));
    await io(async () => writeFile(card, cardOf(basename(folder), written, license, made), { flush: true }));
    signal?.throwIfAborted();
    if (!(await isThere())) {
      const failed = await rename(temporary, folder).then(() => undefined, (cause: Error) => cause);
      if (failed === undefined) return;
      // Another call may have made it in between.
      if (!(await isThere())) await io(async () => Promise.reject(failed));
    }
    const present = await readFile(join(folder, "README.md"), "utf8").catch(() => undefined);
    // A card that somebody has written, or made their own, is theirs.
    const replaced = NAMES.filter((name) => name !== "README.md" || present === undefined || present.includes(MARK));
    for (const name of replaced) await io(async () => rename(join(temporary, name), join(folder, name)));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Finds the model of a path, or of a name of the Hugging Face hub, which is downloaded first. */
export async function findModel(path: string, signal: AbortSignal | undefined, onProgress: ((progress: DownloadProgress) => void) | undefined): Promise<Found> {
  const folder = path.startsWith("hf://") ? await download(path, signal, onProgress) : path;
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) return { file: folder };
  const { parseConfig, WEIGHTS } = await folders();
  const names = await readdir(folder).catch((cause: Error) => {
    throw new ResNetError("ERR_IO", `cannot read ${folder}: ${cause.message}`, { cause });
  });
  const weights = WEIGHTS.find((name) => names.includes(name));
  const wrong = (expected: string, got: string, cause?: unknown) => new ResNetError("ERR_MODEL_FILE", `${folder}: expected ${expected}, got ${got}`, { cause });
  if (weights === undefined) throw wrong(`a model's file, or a folder with ${WEIGHTS.join(" or ")}`, `a folder with ${names.length === 0 ? "nothing" : shown(names.slice(0, 5).join(", "))}`);
  const file = join(folder, weights);
  if (await describesItself(file)) return { file };
  if (!names.includes("config.json")) throw wrong("a description in model.safetensors, or config.json beside it", "neither");
  const config = join(folder, "config.json");
  const text = await readFile(config, "utf8").catch((cause: Error) => {
    throw new ResNetError("ERR_IO", `cannot read ${config}: ${cause.message}`, { cause });
  });
  try {
    return { weights: file, read: parseConfig(text) };
  } catch (cause) {
    throw new ResNetError("ERR_MODEL_FILE", `${config}: ${(cause as Error).message}`, { cause });
  }
}

/** Whether a file is one of ours, with the network in its header. What is damaged is told by whoever reads it. */
async function describesItself(file: string): Promise<boolean> {
  const handle = await open(file).catch(() => undefined);
  try {
    const length = Buffer.alloc(8);
    const read = await handle?.read(length, 0, 8, 0);
    const size = Number(length.readBigUInt64LE());
    if (handle === undefined || read?.bytesRead !== 8 || size > Math.min(MOST_HEADER, (await handle.stat()).size)) return false;
    const header = Buffer.alloc(size);
    await handle.read(header, 0, size, 8);
    const { __metadata__: told } = JSON.parse(header.toString()) as { __metadata__?: Record<string, unknown> };
    return told?.["resnet_native"] !== undefined;
  } catch {
    return false;
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
