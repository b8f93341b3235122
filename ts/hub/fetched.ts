import { createHash } from "node:crypto";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { DownloadProgress } from "../download.js";

/** Where the hub is, where files are kept, and who asks. */
export interface Fetching {
  readonly cache: string;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: DownloadProgress) => void) | undefined;
  readonly hubUrl: string | undefined;
  readonly accessToken: string | undefined;
}

const CONFIG = "config.json";
/** What a folder's weights may be called, the better one first. */
export const WEIGHTS = ["model.safetensors", "pytorch_model.bin"] as const;
const COMMIT = /^[0-9a-f]{40}$/;

/** The parts of a name such as `hf://timm/resnet18.a1_in1k@main`. Throws if it is none. */
export function parseAddress(address: string): { repo: string; revision: string | undefined } {
  const [, repo, revision] = /^hf:\/\/([A-Za-z0-9_][\w.-]*\/[A-Za-z0-9_][\w.-]*)(?:@([A-Za-z0-9_][\w./-]*))?$/.exec(address) ?? [];
  if (repo === undefined) throw new Error('expected a name such as "hf://timm/resnet18.a1_in1k", with "@" and a branch, tag or commit behind it or not');
  return { repo, revision };
}

/** The folder of this machine that has a model of the Hugging Face hub; what it lacks is downloaded. A commit that is there asks nobody. */
export async function fetched(address: string, { cache, signal, onProgress, ...access }: Fetching): Promise<string> {
  const { repo, revision } = parseAddress(address);
  const folderOf = (commit: string) => join(cache, repo, commit);
  if (revision && COMMIT.test(revision) && (await isWhole(folderOf(revision)))) return folderOf(revision);
  const hub = await import("@huggingface/hub").catch((cause: Error) => {
    throw new Error("expected the package @huggingface/hub beside this one, got none: npm install @huggingface/hub", { cause });
  });
  const given: typeof fetch = async (input, init) => fetch(input, { ...init, ...(signal && { signal }) });
  const asked = { ...access, fetch: given } as { fetch: typeof fetch; hubUrl?: string; accessToken: string };
  const { sha: commit } = await hub.modelInfo({ ...asked, name: repo, revision: revision ?? "main", additionalFields: ["sha"] });
  if (!COMMIT.test(commit)) throw new Error(`expected a commit, got ${commit}`);
  const folder = folderOf(commit);
  if (await isWhole(folder)) return folder;
  const there = await hub.pathsInfo({ ...asked, repo, revision: commit, paths: [CONFIG, ...WEIGHTS] });
  const wanted = [[CONFIG], WEIGHTS].map((names) => {
    const found = names.map((name) => there.find(({ path }) => path === name)).find(Boolean);
    if (found === undefined) throw new Error(`expected ${names.join(" or ")} in it, got none`);
    return found;
  });
  await mkdir(folder, { recursive: true });
  // The description comes last: where it is, the weights are.
  for (const { path, size, lfs } of wanted.toReversed()) {
    const blob = await hub.downloadFile({ ...asked, repo, revision: commit, path });
    if (blob === null) throw new Error(`${path} is not there`);
    await keep(join(folder, path), blob, size, lfs?.oid, (received) => {
      signal?.throwIfAborted();
      onProgress?.({ file: path, received, total: size });
    });
  }
  return folder;
}

async function isWhole(folder: string): Promise<boolean> {
  return (await stat(join(folder, CONFIG)).catch(() => undefined))?.isFile() === true;
}

/** Writes what comes, which appears as a file only when it is whole and what the hub says it is. */
async function keep(file: string, blob: Blob, size: number, sha256: string | undefined, report: (received: number) => void): Promise<void> {
  const temporary = `${file}.${crypto.randomUUID()}`;
  const hash = createHash("sha256");
  try {
    const handle = await open(temporary, "wx");
    try {
      let received = 0;
      for await (const chunk of blob.stream() as unknown as AsyncIterable<Uint8Array>) {
        received += chunk.length;
        if (received > size) break;
        hash.update(chunk);
        await handle.writeFile(chunk);
        report(received);
      }
      if (received !== size) throw new Error(`${file}: expected ${size} bytes, got ${received > size ? "more" : received}`);
      const digest = hash.digest("hex");
      if (sha256 !== undefined && digest !== sha256) throw new Error(`${file}: expected SHA-256 ${sha256}, got ${digest}`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
}
