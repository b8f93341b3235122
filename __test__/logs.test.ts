import { execFile } from "node:child_process";
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { csvLog, fit, type FitEvent, type FitListener, globalAvgPool2d, type History, jsonlLog, linear, sequential, TensorBoard } from "resnet-native";
import { expect, test } from "vitest";
import { origin } from "../ts/binding.js";
import { writeMade } from "../ts/written-file.js";
import { any, pictures, rejection } from "./pictures.js";

const folder = () => mkdtempSync(join(tmpdir(), "resnet-native-logs-"));
const network = () => sequential([globalAvgPool2d(), linear(4)]);
const data = { train: pictures(40), validation: pictures(8) };
const options = { epochs: 3, batchSize: 8, validateEvery: { epochs: 2 } } as const;

/** The fields of a protobuf message, by number: integers, or bytes. */
function fields(bytes: Buffer): [number: number, value: number | Buffer][] {
  const found: [number, number | Buffer][] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]!;
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key % 8;
    const length = kind === 2 ? varint() : kind === 1 ? 8 : kind === 5 ? 4 : 0;
    found.push([Math.floor(key / 8), kind === 0 ? varint() : bytes.subarray(at, (at += length))]);
  }
  return found;
}

/** What a folder's only event file has, event by event: the step, and the values by their tags, or what else it tells. */
function eventsIn(dir: string) {
  const [name, ...others] = readdirSync(dir);
  expect(others).toEqual([]);
  expect(name).toMatch(/^events\.out\.tfevents\.\d+\./);
  const file = readFileSync(join(dir, name!));
  const events: { step: number; values: Record<string, number | Buffer>; version?: string; restarts?: boolean }[] = [];
  for (let at = 0; at < file.length;) {
    const length = Number(file.readBigUInt64LE(at));
    const event = new Map(fields(file.subarray(at + 12, at + 12 + length)));
    const values: Record<string, number | Buffer> = {};
    for (const [, value] of fields((event.get(5) as Buffer | undefined) ?? Buffer.alloc(0))) {
      const parts = new Map(fields(value as Buffer));
      const scalar = parts.get(2) as Buffer | undefined;
      values[String(parts.get(1))] = scalar ? scalar.readFloatLE() : ((parts.get(4) ?? parts.get(8)) as Buffer);
    }
    const [version, session] = [event.get(3), event.get(7)];
    events.push({ step: Number(event.get(2) ?? 0), values, ...(version !== undefined && { version: String(version) }), ...(session !== undefined && { restarts: true }) });
    at += 16 + length;
  }
  return events;
}

test("listeners get each event in order, with the history, and training waits for them", async () => {
  using model = network();
  const [events, epochs]: [FitEvent[], number[]] = [[], []];
  let waiting = false;
  const slow: FitListener = async ({ type }, { rows }) => {
    expect(waiting).toBe(false);
    if (type !== "epoch") return;
    waiting = true;
    await new Promise((resolve) => setTimeout(resolve, 20));
    waiting = false;
    epochs.push(rows.length);
  };
  const history = await fit(model, data, { ...options, onEvent: [slow, (event) => void events.push(event)] });
  expect(epochs).toEqual([1, 2, 3]);
  const kinds = events.map(({ type }) => type).filter((type) => type !== "step" && type !== "validation");
  expect(kinds).toEqual(["epochBegin", "epoch", "epochBegin", "evaluation", "epoch", "epochBegin", "epoch"]);
  expect(events.filter(({ type }) => type === "epoch")).toEqual(history.rows.map((row) => ({ type: "epoch", ...row })));
});

test("a listener that throws ends the run, and what is no listener is refused", async () => {
  using model = network();
  const reason = new Error("full");
  const failing = (event: FitEvent) => {
    if (event.type === "epoch" && event.epoch === 2) throw reason;
  };
  expect(await rejection(fit(model, data, { ...options, onEvent: failing }))).toBe(reason);
  expect((reason as { history?: History }).history?.rows.length).toBe(2);
  // Of several the first error counts, and none is left to nobody.
  const later: FitListener = async () => {
    await Promise.resolve();
    throw new Error("later");
  };
  expect(await rejection(fit(model, data, { ...options, onEvent: [later, () => { throw reason; }] }))).toBe(reason);
  for (const wrong of [{}, [1], "log.csv", new TensorBoard(folder())]) {
    expect(await rejection(fit(model, data, { onEvent: any(wrong) }))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^onEvent: expected a function, such as a TensorBoard's onEvent, or an array of functions, got /) });
  }
});

test("csvLog has a row for each epoch, also for those before a checkpoint that the run goes on from", async () => {
  const dir = folder();
  const file = join(dir, "epochs.csv");
  const run = { ...options, checkpoint: { dir: join(dir, "run") }, resume: join(dir, "run") };
  const read = () => readFileSync(file, "utf8").trimEnd().split("\n").map((line) => line.split(","));
  using first = network();
  await rejection(fit(first, data, { ...run, onEvent: csvLog(file), onCheckpoint: ({ epoch }) => epoch > 2 && Promise.reject(new Error("stop")) }));
  expect(read().length).toBe(3);
  using second = network();
  const { rows } = await fit(second, data, { ...run, onEvent: csvLog(file) });
  const [head, ...lines] = read();
  expect(rows.length).toBe(3);
  expect(head!.join()).toBe("epoch,loss,accuracy,validationLoss,validationAccuracy,lr,seconds,waiting");
  expect(lines).toEqual(rows.map((row) => head!.map((name) => String(row[name as keyof typeof row] ?? ""))));
  expect(lines[0]![3]).toBe("");
  expect(readdirSync(dir).toSorted()).toEqual(["epochs.csv", "run"]);
});

test("jsonlLog adds a line for each event", async () => {
  using model = network();
  const file = join(folder(), "events.jsonl");
  // As a full disk leaves it: the last line is torn.
  writeFileSync(file, '{"earlier":true}\n{"to');
  const events: FitEvent[] = [];
  await fit(model, data, { ...options, onEvent: [jsonlLog(file), (event) => void events.push(event)] });
  const [earlier, torn, ...rest] = readFileSync(file, "utf8").trimEnd().split("\n");
  expect([earlier, torn]).toEqual(['{"earlier":true}', '{"to']);
  const lines = rest.map((line) => JSON.parse(line));
  expect(lines).toEqual(events.map((event) => ({ time: expect.stringMatching(/^20\d\d-\d\d-\d\dT.*Z$/), ...event })));
});

test("TensorBoard has curves by updates, and forgets what a run that goes on tells again", async () => {
  const dir = folder();
  using model = network();
  const boards = ["first", "second"].map((name) => new TensorBoard(join(dir, "boards", name)));
  const run = { ...options, checkpoint: { dir: join(dir, "run") }, resume: join(dir, "run") };
  await rejection(fit(model, data, { ...run, onEvent: boards[0]!.onEvent, onCheckpoint: ({ epoch }) => epoch > 1 && Promise.reject(new Error("stop")) }));
  using again = network();
  const { rows } = await fit(again, data, { ...run, onEvent: boards[1]!.onEvent });
  const [begin, ...first] = eventsIn(join(dir, "boards", "first"));
  expect(begin).toEqual({ step: 0, values: {}, version: "brain.Event:2" });
  const epochs = first.filter(({ values }) => "epoch/loss" in values);
  expect(epochs.map(({ step }) => step)).toEqual([5]);
  expect(Object.keys(epochs[0]!.values)).toEqual(["epoch/loss", "epoch/accuracy", "epoch/lr", "epoch/seconds", "epoch/waiting"]);
  expect(epochs[0]!.values["epoch/loss"]).toBe(Math.fround(rows[0]!.loss));
  const steps = first.filter(({ values }) => "step/loss" in values);
  expect(steps.at(-1)!.step).toBe(5);
  expect(Object.keys(steps[0]!.values)).toEqual(["step/loss", "step/accuracy", "step/lr", "step/imagesPerSecond", "step/waiting"]);
  const second = eventsIn(join(dir, "boards", "second")).slice(1);
  expect(second.map(({ restarts }) => restarts ?? false).indexOf(true)).toBe(0);
  expect(second[0]!.step).toBe(second[1]!.step);
  expect(second[0]!.step).toBeGreaterThan(5);
  const measured = second.filter(({ values }) => "validation/loss" in values);
  expect(measured.map(({ step, values }) => [step, values["validation/accuracy"]])).toEqual([[10, Math.fround(rows[1]!.validationAccuracy!)]]);
});

test("a run that goes on behind the last update of an epoch has its places, and listeners hear of an abort's checkpoint", async () => {
  const dir = folder();
  using model = network();
  const run = { ...options, checkpoint: { dir: join(dir, "run"), everyEpochs: 100, onAbort: true }, resume: join(dir, "run") };
  const stop = new AbortController();
  const events: FitEvent[] = [];
  const heard: FitListener = (event) => {
    events.push(event);
    if (event.type === "evaluation") stop.abort();
  };
  await rejection(fit(model, data, { ...run, onEvent: heard, signal: stop.signal }));
  expect(events.at(-1)).toMatchObject({ type: "checkpoint" });
  using again = network();
  const board = new TensorBoard(join(dir, "board"));
  const { rows } = await fit(again, data, { ...run, onEvent: board.onEvent });
  expect(rows.length).toBe(3);
  const told = eventsIn(join(dir, "board")).slice(1);
  expect([told[0]!.restarts, told[0]!.step > 5]).toEqual([true, true]);
  expect(told.flatMap(({ step, values }) => ("epoch/loss" in values ? [step] : []))).toEqual([10, 15]);
});

test("TensorBoard takes scalars, pictures and texts of your own", () => {
  const dir = folder();
  const board = new TensorBoard(dir);
  const png = readFileSync(new URL("../crates/resnet-core/tests/fixtures/pictures/rgb.png", import.meta.url));
  board.scalar("temperature", 36.5, 7);
  board.picture("first batch", png, 2 ** 33);
  board.text("notes", "**grün**", 0);
  const [, scalar, picture, text] = eventsIn(dir);
  expect(scalar).toEqual({ step: 7, values: { temperature: 36.5 } });
  expect(picture!.step).toBe(2 ** 33);
  expect((picture!.values["first batch"] as Buffer).includes(png)).toBe(true);
  expect((text!.values["notes"] as Buffer).includes("**grün**")).toBe(true);
  const wrong: [() => void, RegExp][] = [
    [() => board.scalar("loss", Number.NaN, 1), /value: expected a finite number/],
    [() => board.scalar(any(1), 1, 1), /tag: expected a string/],
    [() => board.scalar("loss", 1, 1.5), /step: expected an integer/],
    [() => board.picture("p", new Uint8Array(9), 1), /png: expected the bytes of a PNG, got 9 others/],
    [() => board.picture("p", any("p.png"), 1), /png: expected/],
    [() => board.text("t", any(1), 1), /markdown: expected a string/],
    [() => new TensorBoard(any(1)), /dir: expected a path/],
  ];
  for (const [call, message] of wrong) expect(call).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(message) }));
  expect(eventsIn(dir).length).toBe(4);
});

test("what is no event is refused, and leaves nothing in a log", async () => {
  const dir = folder();
  const row = { epoch: 1, loss: 1, accuracy: 1, lr: 1, seconds: 1 };
  const [csv, jsonl, { onEvent: board }] = [csvLog(join(dir, "a.csv")), jsonlLog(join(dir, "a.jsonl")), new TensorBoard(join(dir, "board"))];
  const cases: [FitListener, event: unknown, history: unknown, message: RegExp][] = [
    ...[csv, jsonl, board].flatMap((log) => [undefined, "epoch", {}, { type: "epoch" }, { type: "end", epoch: 1 }].map((event) => [log, event, { rows: [] }, /^event: expected an event of fit/] as [FitListener, unknown, unknown, RegExp])),
    [csv, { type: "epoch", ...row }, undefined, /^history: expected a History or an array of its rows, got undefined$/],
    [csv, { type: "epoch", ...row }, { rows: [{ ...row, loss: "1" }] }, /^history\[0\]\.loss: expected a number, got "1"$/],
    [board, { type: "epoch", ...row, loss: "1" }, { rows: [] }, /^event\.loss: expected a number, got "1"$/],
  ];
  for (const [log, event, history, message] of cases) {
    expect(await rejection((async () => log(any(event), any(history)))())).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(message) });
  }
  expect(readdirSync(dir)).toEqual(["board"]);
  await csv({ type: "epoch", ...row }, any({ rows: [row] }));
  expect(await rejection((async () => csv(any({ type: "epoch", epoch: 2 }), any({ rows: [row] })))())).toMatchObject({ message: "event.loss: expected a number, got undefined" });
  expect(readFileSync(join(dir, "a.csv"), "utf8").trimEnd().split("\n").length).toBe(2);
});

test("what a killed process left beside a file goes with the next one, and what another is writing stays", async () => {
  const dir = folder();
  const [file, row] = [join(dir, "a.csv"), { epoch: 1, loss: 1, accuracy: 1, lr: 1, seconds: 1 }];
  // Killed while it writes, as a machine that has no more memory kills it.
  const program = `const { NativeReplacement } = require(${JSON.stringify(origin.file)}); new NativeReplacement(${JSON.stringify(file)}); process.kill(process.pid, "SIGKILL");`;
  await rejection(promisify(execFile)(process.execPath, ["-e", program]));
  const [left] = readdirSync(dir);
  expect(left).toMatch(/^\.a\.csv\..*\.tmp$/);
  let during: string[] = [];
  await writeMade(file, async () => {
    await csvLog(file)({ type: "epoch", ...row }, any({ rows: [row] }));
    during = readdirSync(dir);
    return "whole";
  });
  expect([during.length, during.includes(left!), readdirSync(dir), readFileSync(file, "utf8")]).toEqual([2, false, ["a.csv"], "whole"]);
});

test.skipIf(process.platform !== "linux")("a folder that cannot be made is named, with the system's reason", () => {
  // Node's own way to make it never ends there.
  expect(() => new TensorBoard("/proc/none/at/all")).toThrow(expect.objectContaining({ code: "ERR_IO", message: "cannot write /proc/none/at/all: no such file or directory" }));
});

test("a link stays one, and a file keeps who may read it", async () => {
  using model = network();
  const dir = folder();
  const [target, link] = [join(dir, "target.csv"), join(dir, "link.csv")];
  writeFileSync(target, "before", { mode: 0o640 });
  symlinkSync(target, link);
  const { rows } = await fit(model, data, { ...options, onEvent: csvLog(link) });
  expect(readFileSync(target, "utf8").split("\n").length).toBe(1 + rows.length + 1);
  expect([lstatSync(link).isSymbolicLink(), statSync(target).mode & 0o777]).toEqual([true, 0o640]);
});

test("what cannot be written is ERR_IO", async () => {
  using model = network();
  const dir = folder();
  mkdirSync(join(dir, "file.csv"));
  writeFileSync(join(dir, "plain"), "");
  expect(() => new TensorBoard(join(dir, "plain"))).toThrow(expect.objectContaining({ code: "ERR_IO", message: expect.stringContaining("plain") }));
  // A device stays one, whoever may replace it.
  await promisify(execFile)("mkfifo", [join(dir, "pipe")]);
  for (const onEvent of [csvLog(join(dir, "file.csv")), csvLog(join(dir, "pipe")), jsonlLog(join(dir, "nowhere", "events.jsonl")), jsonlLog(join(dir, "plain", "events.jsonl"))]) {
    expect(await rejection(fit(model, data, { onEvent }))).toMatchObject({ code: "ERR_IO", message: expect.stringContaining(dir) });
  }
  for (const log of [csvLog, jsonlLog]) expect(() => log(any(1))).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
});
