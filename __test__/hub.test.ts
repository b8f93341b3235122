import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CifarResNet, type DownloadProgress, loadModel } from "resnet-native";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { digest, rejection } from "./pictures.js";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const ADDRESS = "hf://somebody/tiny.v1";

let folder: string;
let server: Server;
let model: CifarResNet;
/** What the hub has; `lies` are about what is sent. */
let files: Record<string, Buffer>;
let lies: { readonly sha256?: string; readonly cut?: boolean };
let asked: string[];
let tokens: Set<string | undefined>;

/** As far as it is asked, the Hugging Face hub. */
function answer(method: string, path: string): { status?: number; json?: unknown; bytes?: Buffer } {
  if (method === "GET" && /^\/api\/models\/somebody\/tiny\.v1\/revision\/(main|v2|[0-9a-f]{40})\?/.test(path)) return { json: { _id: "1", id: "somebody/tiny.v1", sha: COMMIT, private: false, gated: false, lastModified: new Date(0).toISOString() } };
  if (method === "POST" && path === `/api/models/somebody/tiny.v1/paths-info/${COMMIT}`) {
    const lfs = (name: string, bytes: Buffer) => (name.endsWith(".json") ? {} : { lfs: { oid: lies.sha256 ?? createHash("sha256").update(bytes).digest("hex"), size: bytes.length, pointerSize: 1 } });
    return { json: Object.entries(files).map(([path, bytes]) => ({ type: "file", path, size: bytes.length, oid: "f", ...lfs(path, bytes) })) };
  }
  const [, name] = new RegExp(`^/somebody/tiny\\.v1/resolve/${COMMIT}/(.*)$`).exec(path) ?? [];
  return name !== undefined && files[name] ? { bytes: files[name] } : { status: 404, json: { error: "Repository not found" } };
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-hub-"));
  model = new CifarResNet({ depth: 8, inChannels: 3, numClasses: 4, seed: 6 });
  await model.saveFolder(join(folder, "model"));
  files = {};
  for (const name of ["config.json", "model.safetensors"]) files[name] = await readFile(join(folder, "model", name));
  [lies, asked, tokens] = [{}, [], new Set()];
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url!.split("?")[0]!.split("/").at(-1)}`);
    tokens.add(request.headers.authorization);
    const { status = 200, json, bytes } = answer(request.method!, request.url!);
    if (!bytes) return response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
    const isProbe = request.headers.range === "bytes=0-0";
    if (isProbe) return response.writeHead(206, { "content-range": `bytes 0-0/${bytes.length}`, etag: '"e"' }).end(bytes.subarray(0, 1));
    return response.writeHead(200).end(lies.cut ? bytes.subarray(0, bytes.length - 9) : bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  vi.stubEnv("HF_ENDPOINT", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  vi.stubEnv("HF_TOKEN", undefined);
  // Linux; on other systems the cache is elsewhere.
  for (const name of ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"]) vi.stubEnv(name, join(folder, "cache"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  vi.doUnmock("@huggingface/hub");
  vi.resetModules();
  model.dispose();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true });
});

/** All files of the cache. */
const kept = async () => {
  const all = await readdir(join(folder, "cache"), { recursive: true, withFileTypes: true }).catch(() => []);
  return all.filter((entry) => entry.isFile()).map(({ name }) => name).toSorted();
};

test("a name of the hub is downloaded once, with progress, and then asked for by commit alone", async () => {
  vi.stubEnv("HF_TOKEN", "hf_secret");
  const progress: DownloadProgress[] = [];
  using first = await loadModel(ADDRESS, { onProgress: (come) => progress.push(come) });
  expect(await digest(first)).toBe(await digest(model));
  const size = files["model.safetensors"]!.length;
  expect(progress.findLast(({ file }) => file === "model.safetensors")).toEqual({ file: "model.safetensors", received: size, total: size });
  expect(progress.at(-1)).toMatchObject({ file: "config.json", received: files["config.json"]!.length });
  expect([...tokens]).toEqual(["Bearer hf_secret"]);
  expect(await kept()).toEqual(["config.json", "model.safetensors"]);
  asked = [];
  using second = await loadModel(`${ADDRESS}@v2`);
  expect(await digest(second)).toBe(await digest(model));
  expect(asked).toEqual(["GET v2"]);
  asked = [];
  using third = await loadModel(`${ADDRESS}@${COMMIT}`, { numClasses: 9 });
  expect([third.inChannels, asked]).toEqual([3, []]);
});

test.each([
  [() => (lies = { sha256: "0".repeat(64) }), /^hf:\/\/somebody\/tiny\.v1: it cannot be had from http:.*model\.safetensors: expected SHA-256 0{64}, got /],
  [() => (lies = { cut: true }), /model\.safetensors: expected \d+ bytes, got \d+$/],
  [() => delete files["model.safetensors"], /expected model\.safetensors or pytorch_model\.bin in it, got none$/],
  [() => delete files["config.json"], /expected config\.json/],
])("what is not whole, or not what the hub says, is not kept (%s)", async (spoil, message) => {
  spoil();
  expect(await rejection(loadModel(ADDRESS))).toMatchObject({ name: "ResNetError", code: "ERR_DATA_NOT_FOUND", message: expect.stringMatching(message) });
  expect(await kept()).toEqual([]);
});

test("a hub that has no such model, or cannot be reached, is named", async () => {
  expect(await rejection(loadModel("hf://somebody/else"))).toMatchObject({ code: "ERR_DATA_NOT_FOUND", message: expect.stringMatching(/^hf:\/\/somebody\/else: it cannot be had from http:.*: Repository not found/) });
  vi.stubEnv("HF_ENDPOINT", "http://127.0.0.1:9");
  expect(await rejection(loadModel(ADDRESS))).toMatchObject({ code: "ERR_DATA_NOT_FOUND", message: expect.stringMatching(/127\.0\.0\.1:9: fetch failed/) });
});

test.each(["hf://timm", "hf://../..", "hf://a/..", "hf://a/b@../x", "hf://a/b/c", "hf://"])("%s is no name of the hub", async (address) => {
  expect(await rejection(loadModel(address))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^path: expected a name such as "hf:\/\/timm\/resnet18\.a1_in1k"/) });
  expect(asked).toEqual([]);
});

test("a signal and a callback that throws end a download, and nothing half is left", async () => {
  const stop = new AbortController();
  const reason = new Error("enough");
  expect(await rejection(loadModel(ADDRESS, { signal: stop.signal, onProgress: () => stop.abort(reason) }))).toBe(reason);
  const thrown = new Error("mine");
  const onProgress = () => {
    throw thrown;
  };
  expect(await rejection(loadModel(ADDRESS, { onProgress }))).toBe(thrown);
  expect(await kept()).toEqual([]);
});

test("without the hub's package the error says how to get it", async () => {
  vi.doMock("@huggingface/hub", () => {
    throw new Error("Cannot find package");
  });
  expect(await rejection(loadModel(ADDRESS))).toMatchObject({ code: "ERR_DATA_NOT_FOUND", message: expect.stringMatching(/expected the package @huggingface\/hub beside this one, got none: npm install @huggingface\/hub$/) });
  expect(asked).toEqual([]);
});
