import { nativeDataOf, type UnreadableFile } from "./data.js";
import { imageFolder, type Skipped } from "./image-folder.js";
import { checkOptions } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";

/** Height and width of a picture, upright. */
export interface PictureSize {
  /** In pixels. */
  readonly height: number;
  /** In pixels. */
  readonly width: number;
}

/** A class of a folder. */
export interface ClassCount {
  /** The class. */
  readonly name: string;
  /** Its readable pictures, also those for validation. */
  readonly pictures: number;
  /** How many of them stand apart for validation, where the folder has such a part. */
  readonly validation?: number;
}

/** Sizes of a folder's pictures, by their pixels. */
export interface SizeRange {
  /** Of the picture with the fewest pixels. */
  readonly smallest: PictureSize;
  /** Of the one in the middle. */
  readonly median: PictureSize;
  /** Of the one with the most. */
  readonly largest: PictureSize;
}

/** Files with the same bytes. */
export interface Duplicates {
  /** The files, at least two. */
  readonly paths: readonly string[];
  /** The classes that they are in. */
  readonly classes: readonly string[];
}

/** What {@link inspectFolder} found. */
export interface FolderReport {
  /** The classes in the order of their labels, each with its number of readable pictures. */
  readonly classes: readonly ClassCount[];
  /** Readable pictures of all classes. */
  readonly pictures: number;
  /** How large they are; absent where there is none. */
  readonly sizes?: SizeRange;
  /** How many are `"colour"`, `"grey"`, `"colour with alpha"` and `"grey with alpha"`. */
  readonly colours: Readonly<Record<string, number>>;
  /** Files that are there more than once. */
  readonly duplicates: readonly Duplicates[];
  /** Files that are no pictures by what is in them, with what they are. */
  readonly unreadable: readonly UnreadableFile[];
  /** What was passed over by name; its `unreadable` is part of the above. */
  readonly skipped: Skipped;
}

/**
 * Reads and decodes every picture of a folder (see {@link imageFolder}) once, and tells what is in it: what is wrong with it shows before
 * an hour is spent on training.
 *
 * @example
 * ```ts
 * const { classes, unreadable, duplicates } = await inspectFolder("pictures/");
 * ```
 *
 * Rejects with `ERR_DATA_NOT_FOUND` if there are not two classes with pictures, `ERR_IO` if a folder cannot be read.
 */
export async function inspectFolder(path: string | URL, options?: SignalOptions): Promise<FolderReport> {
  const { signal } = checkOptions(options, signalRules);
  const { train, validation, skipped } = await imageFolder(path, { size: 1, onError: "skip", cache: 0, ...(signal && { signal }) });
  const names = train.classNames!;
  const found = [];
  for (const part of validation ? [train, validation] : [train]) {
    const details = await cancellable(signal, (flag) => nativeDataOf(part).inspect(flag));
    const { labels } = part;
    found.push(...details.map((one, i) => ({ ...one, name: names[labels[i]!]!, apart: part === validation })));
  }
  const good = found.filter(({ problem }) => !problem);
  const bad = found.filter(({ problem }) => problem).map(({ path, problem }) => ({ path, got: problem! }));
  const bySize = good.map(({ height, width }) => ({ height, width })).toSorted((a, b) => a.height * a.width - b.height * b.width);
  const at = (share: number) => bySize[Math.round((bySize.length - 1) * share)]!;
  const byClass = counted(good.map(({ name }) => name));
  const apart = counted(good.filter((file) => file.apart).map(({ name }) => name));
  const byBytes = new Map<string, typeof good>();
  for (const file of good) {
    const alike = byBytes.get(file.sha256);
    if (alike) alike.push(file);
    else byBytes.set(file.sha256, [file]);
  }
  const alike = [...byBytes.values()].filter((files) => files.length > 1);
  return {
    classes: names.map((name) => ({ name, pictures: byClass[name] ?? 0, ...(validation && { validation: apart[name] ?? 0 }) })),
    pictures: good.length,
    ...(bySize.length > 0 && { sizes: { smallest: at(0), median: at(0.5), largest: at(1) } }),
    colours: { ...counted(good.map(({ colours }) => colours)) },
    duplicates: alike.map((files) => ({ paths: files.map((file) => file.path), classes: [...new Set(files.map((file) => file.name))] })),
    unreadable: [...skipped.unreadable, ...bad],
    skipped,
  };
}

function counted(words: readonly string[]): Record<string, number> {
  const counts = Object.create(null) as Record<string, number>;
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
