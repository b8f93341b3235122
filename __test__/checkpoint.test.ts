import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { adamw, type CheckpointEvent, cosine, fit, type FitEvent, type FitOptions, loadModel, ResNet, ResNetError } from "resnet-native";
import { afterEach, beforeEach, expect, test } from "vitest";
import { any, digest, pictures, rejection } from "./pictures.js";

/** Processes that are killed and begun again. */
const KILLED = Number(process.env["RESNET_NATIVE_KILLED"] ?? 6);
const child = fileURLToPath(new URL("children/resume.mjs", import.meta.url));
const data = { train: pictures(40), validation: pictures(12) };
let folder: string;

beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "resnet-native-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const tiny = () => new ResNet([[1, 8]], { numClasses: 4, inChannels: 1, seed: 3 });
const usual: FitOptions = { epochs: 3, batchSize: 8, optimizer: adamw({ lr: 0.01 }) };
const checkpoints = (dir: string) => readdirSync(dir).filter((name) => name.startsWith("step-")).toSorted();

/** Trains until the first checkpoint that is wanted, then aborts. */
async function abortedAfter(steps: number, options: FitOptions): Promise<void> {
  const ends = new AbortController();
  let seen = 0;
  const onCheckpoint = () => void (++seen === steps && ends.abort("enough"));
  expect(await rejection(fit(tiny(), data, { ...options, onCheckpoint, signal: ends.signal }))).toBe("enough");
}

test("a run that was stopped goes on as if it had not been", async () => {
  const whole = tiny();
  const history = await fit(whole, data, usual);
  const dir = join(folder, "run");
  const options: FitOptions = { ...usual, checkpoint: { dir, everySteps: 1, keep: 3 }, resume: dir };
  await abortedAfter(7, options);
  expect(checkpoints(dir)).toEqual([5, 6, 7].map((step) => `step-0000000${step}.safetensors`));

  const model = tiny();
  const run = fit(model, data, options);
  const events: FitEvent[] = [];
  for await (const event of run) events.push(event);
  const { rows } = await run;
  expect(rows.map((row) => ({ ...row, seconds: 0, waiting: 0 }))).toEqual(history.rows.map((row) => ({ ...row, seconds: 0, waiting: 0 })));
  expect(await digest(model)).toBe(await digest(whole));
  expect(events[0]).toEqual({ type: "resume", path: join(dir, "step-00000007.safetensors"), epoch: 2, steps: 5, skipped: [] });
  const written = events.filter((event): event is CheckpointEvent => event.type === "checkpoint");
  expect(written.at(-1)).toEqual({ type: "checkpoint", path: join(dir, "step-00000015.safetensors"), epoch: 4, step: 0 });

  // Each is a model too; so is the best epoch's.
  const { best } = await fit(tiny(), data, { ...usual, checkpoint: { dir: join(folder, "other") } });
  expect(best?.monitor).toBe("validationLoss");
  expect(await digest(await loadModel(join(dir, "step-00000015.safetensors")))).toBe(await digest(whole));
  expect(existsSync(join(folder, "other", "best.safetensors"))).toBe(true);
  // One that ended before its first checkpoint has a best epoch already, and begins again.
  const early: FitOptions = { ...usual, checkpoint: { dir: join(folder, "early"), everyEpochs: 5 }, resume: join(folder, "early") };
  const ends = new AbortController();
  await rejection(fit(tiny(), data, { ...early, signal: ends.signal, onEpochEnd: () => ends.abort() }));
  expect(readdirSync(join(folder, "early")).toSorted()).toEqual(["best.safetensors", "run.lock"]);
  expect((await fit(tiny(), data, early)).rows).toHaveLength(3);
  const tried = join(folder, "tried");
  await fit(tiny(), data, { ...usual, fastDevRun: true, checkpoint: { dir: tried } });
  expect(existsSync(tried)).toBe(false);

  const fewer = (await rejection(fit(tiny(), data, { ...options, epochs: 2 }))) as ResNetError;
  expect(fewer.message).toMatch(/^epochs: expected at least the 3 that had ended when .* was written, got 2$/);

  // One that is over says what it came to; more epochs go on from there.
  const over = await fit(tiny(), data, options);
  expect(over.rows).toHaveLength(3);
  expect((await fit(tiny(), data, { ...options, epochs: 4, schedule: cosine() })).rows.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4]);
});

test("checkpoints of other runs, damaged ones and folders in use are refused, and nothing is trained", async () => {
  const dir = join(folder, "run");
  const checkpoint = { dir, everySteps: 1 };
  await abortedAfter(3, { ...usual, checkpoint });
  const before = checkpoints(dir);
  const refused = async (options: FitOptions, sets = data, model = tiny()) => {
    const initial = await digest(model);
    const error = (await rejection(fit(model, sets, { ...usual, ...options }))) as ResNetError;
    expect(error).toBeInstanceOf(ResNetError);
    expect(await digest(model)).toBe(initial);
    expect(checkpoints(dir)).toEqual(before);
    return `${error.code} ${error.message}`;
  };
  expect(await refused({ checkpoint })).toMatch(/^ERR_CHECKPOINT checkpoint.dir: expected a folder without checkpoints, or resume/);
  expect(await refused({ resume: dir, batchSize: 4 })).toMatch(/^ERR_CHECKPOINT resume: expected a checkpoint of a run with batchSize 4, got .* with 8$/);
  expect(await refused({ resume: dir, ema: 0.9 })).toMatch(/^ERR_CHECKPOINT resume: expected a checkpoint of a run with ema .*0.9.*, got .* with none$/);
  expect(await refused({ resume: dir }, { ...data, train: pictures(41) })).toMatch(/data.train with 41 images/);
  expect(await refused({ resume: dir }, data, new ResNet([[2, 8]], { numClasses: 4, inChannels: 1, seed: 3 }))).toMatch(/the network of this run/);
  expect(await refused({ resume: join(folder, "none") })).toMatch(/^ERR_IO /);
  expect(await refused({ resume: join(dir, before[0]!), checkpoint })).toMatch(/^ERR_CHECKPOINT checkpoint.dir/);
  const file = join(dir, before.at(-1)!);
  const bytes = readFileSync(file);
  const damaged = join(folder, "damaged.safetensors");
  writeFileSync(damaged, bytes.subarray(0, bytes.length - 1));
  expect(await refused({ resume: damaged })).toMatch(/^ERR_MODEL_FILE .*damaged/);
  await tiny().save(damaged);
  expect(await refused({ resume: damaged })).toMatch(/^ERR_MODEL_FILE .*no checkpoint$/);

  const ends = new AbortController();
  const first = fit(tiny(), data, { ...usual, epochs: 1_000, checkpoint, resume: dir, signal: ends.signal });
  for await (const event of first) if (event.type === "step") break;
  first.pause();
  const error = (await rejection(fit(tiny(), data, { ...usual, epochs: 1_000, checkpoint, resume: dir }))) as ResNetError;
  expect(`${error.code} ${error.message}`).toMatch(new RegExp(`^ERR_BUSY checkpoint.dir: .* which process ${process.pid} uses$`));
  ends.abort("enough");
  expect(await rejection(first)).toBe("enough");
});

test("of a folder the last whole checkpoint is gone on from, and those that are damaged are told and kept", async () => {
  const whole = tiny();
  await fit(whole, data, usual);
  const dir = join(folder, "run");
  const options: FitOptions = { ...usual, checkpoint: { dir, everySteps: 1, keep: 3 }, resume: dir };
  await abortedAfter(7, options);
  const [before, , newest] = checkpoints(dir).map((name) => join(dir, name));
  for (const name of checkpoints(dir).slice(1)) writeFileSync(join(dir, name), readFileSync(join(dir, name)).subarray(1));
  const model = tiny();
  const run = fit(model, data, options);
  const events: FitEvent[] = [];
  for await (const event of run) events.push(event);
  const aside = [7, 6].map((step) => join(dir, `damaged-step-0000000${step}.safetensors`));
  const skipped = aside.map((path, i) => ({ path, reason: expect.stringContaining(`step-0000000${7 - i}.safetensors: `) as string }));
  expect(events[0]).toEqual({ type: "resume", path: before, epoch: 1, steps: 5, skipped });
  expect(aside.every((path) => existsSync(path))).toBe(true);
  expect(existsSync(newest!)).toBe(false);
  expect(await digest(model)).toBe(await digest(whole));
  for (const name of checkpoints(dir)) writeFileSync(join(dir, name), "");
  expect(await rejection(fit(tiny(), data, options))).toMatchObject({ code: "ERR_MODEL_FILE", message: expect.stringMatching(/15\.safetensors: .*; no checkpoint in .* is whole$/) as string });
});

test("an abort leaves a checkpoint if it is asked to, and says so if it cannot", async () => {
  const whole = tiny();
  await fit(whole, data, usual);
  const dir = join(folder, "run");
  const options: FitOptions = { ...usual, checkpoint: { dir, everyEpochs: 9, onAbort: true }, resume: dir };
  const aborted = async (after: number, options: FitOptions, then = () => {}) => {
    const ends = new AbortController();
    const events: FitEvent[] = [];
    // The run waits for it, as it does not for one who iterates.
    const onEvent = (event: FitEvent) => {
      events.push(event);
      if (event.type !== "evaluation" || event.epoch !== after) return;
      then();
      ends.abort("enough");
    };
    const error = await rejection(fit(tiny(), data, { ...options, signal: ends.signal, onEvent }));
    return { error, last: events.at(-1) };
  };
  expect(await aborted(1, { ...options, checkpoint: { dir, everyEpochs: 9 } })).toMatchObject({ error: "enough", last: { type: "evaluation" } });
  expect(checkpoints(dir)).toEqual([]);
  const path = join(dir, "step-00000010.safetensors");
  expect(await aborted(2, options)).toEqual({ error: "enough", last: { type: "checkpoint", path, epoch: 2, step: 5 } });
  const gone = await aborted(3, options, () => rmSync(dir, { recursive: true }));
  expect(gone.error).toMatchObject({ code: "ERR_IO" });
  await aborted(2, options);
  const model = tiny();
  await fit(model, data, options);
  expect(await digest(model)).toBe(await digest(whole));
});

test("options of checkpoints that cannot be are refused", async () => {
  const cases: [FitOptions, RegExp][] = [
    [{ checkpoint: any({}) }, /^checkpoint.dir: expected a path/],
    [{ checkpoint: any("run") }, /^checkpoint: expected an object/],
    [{ checkpoint: { dir: folder, everySteps: 0 } }, /^checkpoint.everySteps: expected an integer from 1/],
    [{ checkpoint: { dir: folder, everyMinutes: 0 } }, /^checkpoint.everyMinutes: expected a finite number above 0/],
    [{ checkpoint: { dir: folder, keep: 0 } }, /^checkpoint.keep: expected an integer from 1/],
    [{ checkpoint: any({ dir: folder, onAbort: 1 }) }, /^checkpoint.onAbort: expected a boolean/],
    [{ checkpoint: any({ dir: folder, every: 1 }) }, /^checkpoint: expected options named dir, /],
    [{ resume: "" }, /^resume: expected a path/],
    [{ checkpoint: { dir: child } }, /^cannot write checkpoints to /],
  ];
  for (const [options, message] of cases) {
    expect(((await rejection(fit(tiny(), data, { ...usual, ...options }))) as ResNetError).message).toMatch(message);
  }
});

test("a process that is killed loses nothing that was acknowledged; the next one ends in the same bits", { timeout: 60_000 + 4_000 * KILLED }, async () => {
  const start = (dir: string, threads: number) => {
    return spawn(process.execPath, [child, dir, String(threads)], { stdio: ["ignore", "pipe", "inherit"] });
  };
  const ended = async (dir: string, threads: number) => {
    const process = start(dir, threads);
    const [out, [code]] = await Promise.all([text(process.stdout), once(process, "exit")]);
    expect(code).toBe(0);
    return JSON.parse(out.trim().split("\n").at(-1)!) as unknown;
  };
  const expected = await ended(join(folder, "whole"), 1);
  const began = performance.now();
  expect(await ended(join(folder, "threads"), 2)).toEqual(expected);
  const whole = performance.now() - began;
  for (let i = 0; i < KILLED; i++) {
    const dir = join(folder, `killed-${i}`);
    const victim = start(dir, 1 + (i % 2));
    let told = "";
    victim.stdout.on("data", (chunk) => (told += String(chunk)));
    // From the program's start to its end.
    setTimeout(() => victim.kill("SIGKILL"), (whole * (i + 1)) / (KILLED + 1));
    await once(victim, "close");
    const last = told.split("\n").findLast((line) => line.endsWith(".safetensors"));
    if (last !== undefined) expect(existsSync(last)).toBe(true);
    expect(await ended(dir, 2 - (i % 2))).toEqual(expected);
  }
});
