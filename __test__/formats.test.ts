import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as resnet from "resnet-native";
import { type EpochRow, type FitEvent, fit, loadModel, type Model, type ModelInterface, plot, type ResNetError, tensor } from "resnet-native";
import { afterEach, beforeEach, expect, test } from "vitest";
import { keptRun } from "./kept-run.mjs";
import { digest, rejection } from "./pictures.js";
import { safetensors } from "./weights.js";

// Files of every version of every format that is read, which tools/format_fixtures.mjs wrote with the version that wrote it then.
const formats = fileURLToPath(new URL("../crates/resnet-core/tests/fixtures/formats/", import.meta.url));
interface Expected {
  readonly file: string;
  readonly digest: string;
  readonly logits: readonly number[];
  readonly interface: ModelInterface;
  readonly rows?: readonly EpochRow[];
  readonly end?: readonly number[];
}
const expected = JSON.parse(readFileSync(join(formats, "expected.json"), "utf8")) as Record<string, Expected>;

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "resnet-native-"))));
afterEach(() => rmSync(folder, { recursive: true }));

/** The logits that a script of the same lines has asked for. */
async function logitsOf(model: Model): Promise<readonly number[]> {
  const shape = [2, model.inChannels!, 8, 8];
  const images = tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => ((i * 37) % 101) / 50 - 1), shape);
  return [...(await model.predict(images)).data];
}

/** Whether numbers are the same but for what another order of sums makes of them. */
function expectNear(found: readonly number[], wanted: readonly number[], digits: number): void {
  expect(found).toHaveLength(wanted.length);
  for (const [i, value] of found.entries()) expect(value).toBeCloseTo(wanted[i]!, digits);
}

/** A file of ours with something else in its metadata, whose digest is right. */
function rewritten(file: string, change: (metadata: Record<string, string>) => void): Buffer {
  const bytes = readFileSync(file);
  const end = 8 + Number(bytes.readBigUInt64LE());
  const { __metadata__: metadata, ...tensors } = JSON.parse(bytes.toString("utf8", 8, end)) as { __metadata__: Record<string, string> };
  change(metadata);
  const zeros = "0".repeat(64);
  metadata["resnet_native_sha256"] = zeros;
  const made = safetensors({ __metadata__: metadata, ...tensors }, bytes.subarray(end));
  const place = made.indexOf(zeros);
  made.write(createHash("sha256").update(made).digest("hex"), place);
  return made;
}

const newer = (json: string | undefined, version: number) => JSON.stringify({ ...(JSON.parse(json!) as object), version });

test("every kept file has what has to come out of it", () => {
  const kept = readdirSync(formats).filter((name) => name !== "expected.json").map((name) => name.split(".")[0]!);
  expect(kept.toSorted()).toEqual(Object.keys(expected).toSorted());
  expect(kept.toSorted()).toEqual(["checkpoint_1", "folder_1", "model_1", "model_2", "model_3"]);
});

for (const [name, { file, digest: weights, logits, interface: known }] of Object.entries(expected)) {
  test(`${name} is loaded: its weights to the bit, what it predicts, what it takes`, async () => {
    using model = await loadModel(join(formats, file));
    expect(await digest(model)).toBe(weights);
    // Bytes are multiplied where the processor is faster at that.
    expectNear(await logitsOf(model), logits, name === "model_3" ? 1 : 4);
    const { transform, classNames, labelKind, temperature } = model;
    expect({ transform, classNames, labelKind, temperature }).toEqual({ transform: undefined, classNames: undefined, labelKind: undefined, ...known });
    // And written again by this version.
    const again = join(folder, "again.safetensors");
    await model.save(again);
    using reread = await loadModel(again);
    expect(await digest(reread)).toBe(weights);
  });
}

for (const [name, { file, rows, end }] of Object.entries(expected).filter(([, { rows }]) => rows !== undefined)) {
  test(`a run goes on from ${name} and ends where it ended`, async () => {
    const dir = join(folder, "run");
    cpSync(join(formats, name), dir, { recursive: true });
    const { model, data, options } = keptRun(resnet);
    const run = fit(model, data, { ...options, checkpoint: { dir }, resume: dir } as resnet.FitOptions);
    const events: FitEvent[] = [];
    for await (const event of run) events.push(event);
    expect(events[0]).toMatchObject({ type: "resume", path: join(dir, file.split("/")[1]!), epoch: 2, skipped: [] });
    const history = await run;
    const timeless = (row: EpochRow) => ({ ...row, seconds: 0, waiting: 0 });
    // What had been then is kept as it was, what comes is computed anew.
    expect(timeless(history.rows[0]!)).toEqual(timeless(rows![0]!));
    expect(history.rows.map(({ epoch, lr }) => ({ epoch, lr }))).toEqual(rows!.map(({ epoch, lr }) => ({ epoch, lr })));
    expectNear(history.rows.map(({ loss }) => loss), rows!.map(({ loss }) => loss), 3);
    expectNear(await logitsOf(model), end!, 3);
    expect(await plot(rows!)).toContain("</svg>");
  });
}

test("a model of a newer version is refused, alone, in a folder of the hub and as a checkpoint, and the error says to update", async () => {
  // Its own words may be any by then.
  const future = rewritten(join(formats, "model_2.safetensors"), (metadata) => (metadata["resnet_native"] = JSON.stringify({ version: 4, graph: [1, 2, 3] })));
  const path = join(folder, "future.safetensors");
  writeFileSync(path, future);
  const told = (where: string) => `${where}: expected a description of version 3, got 4: a newer resnet-native wrote it, update to read it`;
  const refused = async (promise: PromiseLike<unknown>) => {
    const { code, message } = (await rejection(promise)) as ResNetError;
    expect(code).toBe("ERR_MODEL_FILE");
    return message;
  };
  expect(await refused(loadModel(path))).toBe(told(path));
  const hub = join(folder, "hub");
  cpSync(join(formats, "folder_1"), hub, { recursive: true });
  writeFileSync(join(hub, "model.safetensors"), future);
  // Of the same save.
  const config = JSON.parse(readFileSync(join(hub, "config.json"), "utf8")) as { resnet_native: { weights: string } };
  config.resnet_native.weights = /"resnet_native_sha256":"(.*?)"/.exec(future.toString("latin1"))![1]!;
  writeFileSync(join(hub, "config.json"), JSON.stringify(config));
  expect(await refused(loadModel(hub))).toBe(told(join(hub, "model.safetensors")));

  const dir = join(folder, "run");
  cpSync(join(formats, "checkpoint_1"), dir, { recursive: true });
  const resumed = () => {
    const { model, data, options } = keptRun(resnet);
    return refused(fit(model, data, { ...options, resume: dir } as resnet.FitOptions));
  };
  const newest = join(dir, "step-00000006.safetensors");
  writeFileSync(newest, future);
  expect(await resumed()).toBe(told(newest));
  const step = join(dir, "step-00000005.safetensors");
  writeFileSync(newest, rewritten(step, (metadata) => (metadata["resnet_native_training"] = newer(metadata["resnet_native_training"], 2))));
  expect(await resumed()).toBe(`${newest}: expected a checkpoint of version 1, got 2: a newer resnet-native wrote it, update to go on from it`);
  // What this version writes is the newest that it reads.
  writeFileSync(path, rewritten(join(formats, "model_2.safetensors"), (metadata) => (metadata["resnet_native"] = newer(metadata["resnet_native"], 3))));
  using model = await loadModel(path);
  expect(await digest(model)).toBe(expected["model_2"]!.digest);
});
