import { stat } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { ResNetError } from "./errors.js";
import { makeFolder, writeMade } from "./written-file.js";

/** How far a download has come. */
export interface DownloadProgress {
  /** Name of the file. */
  readonly file: string;
  /** Bytes received. */
  readonly received: number;
  /** Bytes in all, as far as the server tells. */
  readonly total: number;
}

/** A file of a data set. */
export interface File {
  /** Its name; packed it has `.gz` behind it. */
  readonly name: string;
  /** Its length unpacked. */
  readonly bytes: number;
  /** Its SHA-256 unpacked: packed in another way it is the same file. */
  readonly sha256: string;
  /** Whether it is an archive, which stays packed: length and SHA-256 are those of the archive then. */
  readonly archive?: true;
}

/** A published data set. */
export interface PublishedSet {
  /** Its folder in the user's cache, and on a mirror of several sets. */
  readonly name: string;
  /** Where its authors, or who keeps it for them, publish it. */
  readonly url: string;
  readonly files: readonly File[];
}

/** The four files of Fashion-MNIST. */
export const FILES: readonly File[] = [
  {
    name: "train-images-idx3-ubyte",
    bytes: 47_040_016,
    sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
  },
  {
    name: "train-labels-idx1-ubyte",
    bytes: 60_008,
    sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
  },
  {
    name: "t10k-images-idx3-ubyte",
    bytes: 7_840_016,
    sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
  },
  {
    name: "t10k-labels-idx1-ubyte",
    bytes: 10_008,
    sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
  },
];

export const FASHION_MNIST: PublishedSet = {
  name: "fashion-mnist",
  url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
  files: FILES,
};

export const MNIST: PublishedSet = {
  name: "mnist",
  url: "https://ossci-datasets.s3.amazonaws.com/mnist/",
  files: [
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    // The same names and lengths as Fashion-MNIST's.
  ].map((sha256, i) => ({ ...FILES[i]!, sha256 })),
};

const archive = (name: string, bytes: number, sha256: string): PublishedSet => ({
  name,
  url: "https://www.cs.toronto.edu/~kriz/",
  files: [{ name: `${name}-binary.tar.gz`, bytes, sha256, archive: true }],
});
export const CIFAR_10 = archive("cifar-10", 170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd");
export const CIFAR_100 = archive("cifar-100", 168_513_733, "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec");

/** More than packing adds where it saves nothing. */
const PACKING = 2 ** 16;

/** Where a set is published; the environment variable `RESNET_NATIVE_MIRROR` names another place, with a folder for each other set. */
export function mirror(set = FASHION_MNIST): string {
  const named = process.env["RESNET_NATIVE_MIRROR"];
  const base = !named || named.endsWith("/") ? named : `${named}/`;
  return base ? (set === FASHION_MNIST ? base : `${base}${set.name}/`) : set.url;
}

/** The folder of the user's cache that downloads go to, if the user has one: in a container there may be no home. */
export function cacheFolder({ name }: { readonly name: string } = FASHION_MNIST): string | undefined {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  const systems: Partial<Record<NodeJS.Platform, readonly [named: string | undefined, ...usual: string[]]>> = {
    darwin: [undefined, "Library", "Caches"],
    win32: [LOCALAPPDATA, "AppData", "Local"],
  };
  const [named, ...usual] = systems[process.platform] ?? [XDG_CACHE_HOME, ".cache"];
  // What is relative would be another folder wherever the program is started.
  const base = [named, join(home(), ...usual)].find((folder) => folder && isAbsolute(folder));
  return base && join(base, "resnet-native", name);
}

function home(): string {
  try {
    return homedir();
  } catch {
    return "";
  }
}

/** Whether a folder has a file, packed or not. */
export async function hasFile(folder: string, name: string): Promise<boolean> {
  const there = [name, `${name}.gz`].map((name) => stat(join(folder, name)).catch(() => undefined));
  return (await Promise.all(there)).some((found) => found?.isFile());
}

/** Downloads what a folder lacks of the files and returns it. A file appears there only when it is whole and verified. */
export async function download(
  folder: string,
  signal: AbortSignal | undefined,
  onProgress: ((progress: DownloadProgress) => void) | undefined,
  files = FILES,
  from = mirror(),
): Promise<string> {
  makeFolder(folder);
  for (const file of files) {
    const { name } = file;
    if (await hasFile(folder, name)) continue;
    const packed = file.archive ? name : `${name}.gz`;
    const report = (received: number, total: number) => onProgress?.({ file: packed, received, total });
    const bytes = await verified(file, await receive(new URL(packed, from), file.bytes, signal, report));
    await writeMade(join(folder, name), async () => bytes).catch(async (error: unknown) => {
      // Windows replaces no file that is being read; another download was quicker then.
      if (!(await hasFile(folder, name))) throw error;
    });
  }
  return folder;
}

/** What a server sends, which may be unpacked on its way. */
async function receive(
  url: URL,
  size: number,
  signal: AbortSignal | undefined,
  report: (received: number, total: number) => void,
): Promise<Buffer<ArrayBuffer>> {
  const response = await fetch(url, { signal: signal ?? null });
  if (!response.ok || response.body === null) throw new Error(`${url}: HTTP status ${response.status}`);
  const { headers } = response;
  const total = (!headers.has("content-encoding") && Number(headers.get("content-length"))) || size;
  const chunks: Uint8Array[] = [];
  let received = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    received += chunk.length;
    if (received > size + PACKING) throw new Error(`${url}: expected ${size} bytes or fewer, packed, got more`);
    if (received < total) report(received, total);
  }
  report(received, received);
  return Buffer.concat(chunks);
}

/** The unpacked bytes of a file, if they are those that its authors published. */
async function verified({ name, bytes: size, sha256, archive }: File, sent: Buffer<ArrayBuffer>): Promise<Buffer> {
  const corrupt = (got: string, cause?: unknown) => {
    const expected = `${size} bytes with SHA-256 ${sha256}${archive ? "" : ", packed or not"}`;
    return new ResNetError("ERR_DATA_CORRUPT", `${name}: expected ${expected}, got ${got}`, { cause });
  };
  const isPacked = !archive && sent[0] === 0x1f && sent[1] === 0x8b;
  const unpack = async () => {
    // Few programs unpack anything, and to load it is a seventh of the package's own time.
    const { gunzip } = await import("node:zlib");
    return promisify(gunzip)(sent, { maxOutputLength: size });
  };
  const bytes = isPacked
    ? await unpack().catch((cause: Error) => {
        throw corrupt(`${sent.length} bytes that cannot be unpacked (${cause.message})`, cause);
      })
    : sent;
  const digest = Buffer.from(await crypto.subtle.digest("SHA-256", bytes)).toString("hex");
  if (digest !== sha256) throw corrupt(`${bytes.length} bytes with SHA-256 ${digest}`);
  return bytes;
}
