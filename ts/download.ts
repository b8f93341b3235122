import { randomUUID } from "node:crypto";
import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { ResNetError } from "./errors.js";

/** How far a download has come. */
export interface DownloadProgress {
  /** Name of the file. */
  readonly file: string;
  /** Bytes received. */
  readonly received: number;
  /** Bytes in all, as far as the server tells. */
  readonly total: number;
}

/** A file of Fashion-MNIST. */
export interface File {
  /** Its name; packed it has `.gz` behind it. */
  readonly name: string;
  /** Its length unpacked. */
  readonly bytes: number;
  /** Its SHA-256 unpacked: packed in another way it is the same file. */
  readonly sha256: string;
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

/** More than packing adds where it saves nothing. */
const PACKING = 2 ** 16;

/** Where the authors publish the files; the environment variable `RESNET_NATIVE_MIRROR` names another place. */
export function mirror(): string {
  const base = process.env["RESNET_NATIVE_MIRROR"] || "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/";
  return base.endsWith("/") ? base : `${base}/`;
}

/** The folder of the user's cache that downloads go to, if the user has one: in a container there may be no home. */
export function cacheFolder(): string | undefined {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  const systems: Partial<Record<NodeJS.Platform, readonly [named: string | undefined, ...usual: string[]]>> = {
    darwin: [undefined, "Library", "Caches"],
    win32: [LOCALAPPDATA, "AppData", "Local"],
  };
  const [named, ...usual] = systems[process.platform] ?? [XDG_CACHE_HOME, ".cache"];
  // What is relative would be another folder wherever the program is started.
  const base = [named, join(home(), ...usual)].find((folder) => folder && isAbsolute(folder));
  return base && join(base, "resnet-native", "fashion-mnist");
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
): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const file of files) {
    const { name } = file;
    if (await hasFile(folder, name)) continue;
    const packed = `${name}.gz`;
    const report = (received: number, total: number) => onProgress?.({ file: packed, received, total });
    const bytes = await verified(file, await receive(new URL(packed, mirror()), file.bytes, signal, report));
    // Others may download into the folder at the same time, on other machines too.
    const temporary = join(folder, `.${name}.${randomUUID()}`);
    try {
      await writeFile(temporary, bytes, { flush: true });
      await rename(temporary, join(folder, name));
    } catch (error) {
      // Windows replaces no file that is being read; another download was quicker then.
      if (!(await hasFile(folder, name))) throw error;
    } finally {
      await rm(temporary, { force: true });
    }
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
async function verified({ name, bytes: size, sha256 }: File, sent: Buffer<ArrayBuffer>): Promise<Buffer> {
  const corrupt = (got: string, cause?: unknown) => {
    const expected = `${size} bytes with SHA-256 ${sha256}, packed or not`;
    return new ResNetError("ERR_DATA_CORRUPT", `${name}: expected ${expected}, got ${got}`, { cause });
  };
  const isPacked = sent[0] === 0x1f && sent[1] === 0x8b;
  const unpack = () => promisify(gunzip)(sent, { maxOutputLength: size });
  const bytes = isPacked
    ? await unpack().catch((cause: Error) => {
        throw corrupt(`${sent.length} bytes that cannot be unpacked (${cause.message})`, cause);
      })
    : sent;
  const digest = Buffer.from(await crypto.subtle.digest("SHA-256", bytes)).toString("hex");
  if (digest !== sha256) throw corrupt(`${bytes.length} bytes with SHA-256 ${digest}`);
  return bytes;
}
