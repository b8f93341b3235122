import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { addon } from "./binding.js";
import { translate } from "./errors.js";

/** How far a download has come. */
export interface DownloadProgress {
  /** Name of the file. */
  readonly file: string;
  /** Bytes received. */
  readonly received: number;
  /** Bytes in all. */
  readonly total: number;
}

/** Where the authors publish the files; the environment variable `RESNET_NATIVE_MIRROR` names another place. */
export function mirror(): string {
  const base = process.env["RESNET_NATIVE_MIRROR"] || "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/";
  return base.endsWith("/") ? base : `${base}/`;
}

/** The folder of the user's cache that downloads go to. */
export function cacheFolder(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  const system: Partial<Record<NodeJS.Platform, string>> = {
    darwin: join(homedir(), "Library", "Caches"),
    win32: LOCALAPPDATA || join(homedir(), "AppData", "Local"),
  };
  return join(
    system[process.platform] ?? (XDG_CACHE_HOME || join(homedir(), ".cache")),
    "resnet-native",
    "fashion-mnist",
  );
}

/** Downloads the four files into a folder and returns it. A file appears there only when it is whole and verified. */
export async function download(
  folder: string,
  signal: AbortSignal | undefined,
  onProgress: ((progress: DownloadProgress) => void) | undefined,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const { name, bytes: total } of addon.fashionMnistFiles()) {
    const report = (received: number) => onProgress?.({ file: name, received, total });
    const bytes = await receive(new URL(name, mirror()), total, signal, report);
    await addon.verifyFashionMnist(name, bytes).catch((error: unknown) => {
      throw translate(error);
    });
    const temporary = join(folder, `.${name}.${process.pid}`);
    try {
      await writeFile(temporary, bytes, { flush: true });
      await rename(temporary, join(folder, name));
    } finally {
      await rm(temporary, { force: true });
    }
  }
  return folder;
}

async function receive(
  url: URL,
  total: number,
  signal: AbortSignal | undefined,
  report: (received: number) => void,
): Promise<Uint8Array> {
  const response = await fetch(url, { signal: signal ?? null });
  if (!response.ok || response.body === null) throw new Error(`${url}: HTTP status ${response.status}`);
  const bytes = new Uint8Array(total);
  let received = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    if (received + chunk.length > total) throw new Error(`${url}: expected ${total} bytes, got more`);
    bytes.set(chunk, received);
    received += chunk.length;
    report(received);
  }
  if (received < total) throw new Error(`${url}: expected ${total} bytes, got ${received}`);
  return bytes;
}
