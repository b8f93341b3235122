// What the package writes, each in versions that can be told apart: `write` puts version k into a folder, `read` gives what a reader finds there, and
// throws if that is damaged.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { csvLog, fit, jsonlLog, loadModel, previewBatch, report, TensorBoard } from "resnet-native";
import { digest, spots, tinyModel } from "./subjects.mjs";

const sha = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");
const data = spots(12);

/** Models by version, made when they are first needed, so that making them is no part of a write. */
const models = new Map();
function version(k, options) {
  const name = `${k} ${JSON.stringify(options)}`;
  if (!models.has(name)) models.set(name, tinyModel({ seed: k + 1, ...options }));
  return models.get(name);
}

async function loaded(path) {
  const model = await loadModel(path);
  try {
    return await digest(model);
  } finally {
    model.dispose();
  }
}

/** A table that has its head and rows of as many cells. */
function wholeTable(file) {
  const lines = readFileSync(file, "utf8").split("\n");
  const cells = lines[0].split(",").length;
  // What a killed writer was adding may be torn; all before is whole.
  if (lines.slice(0, -1).some((line) => line.split(",").length !== cells)) throw new Error(`a row is torn: ${lines.join("|")}`);
  return "a table";
}

function wholeEvents(file) {
  const lines = readFileSync(file, "utf8").split("\n");
  const torn = lines.slice(0, -1).filter((line) => !isJson(line));
  // One for each run that was stopped, which the next has ended.
  if (torn.some((line) => line.length > 0 && !line.startsWith("{"))) throw new Error(`no event: ${torn[0]}`);
  return "events";
}

function isJson(line) {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

/** What is left over in a folder after one more write, before which what was there has aged: young things may be somebody's. */
export async function leftAfterNext({ write, isLog }, folder, k) {
  const left = () => (isLog ? [] : readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".tmp")));
  for (const name of left()) utimesSync(join(folder, name), new Date(0), new Date(0));
  await write(folder, k);
  return left();
}

const training = { epochs: 2, batchSize: 4, seed: 3 };

export const writers = {
  save: {
    write: (folder, k) => version(k).save(join(folder, "model.safetensors")),
    read: (folder) => loaded(join(folder, "model.safetensors")),
  },
  "save of megabytes": {
    write: (folder, k) => version(k, { numClasses: 80_000 }).save(join(folder, "large.safetensors")),
    read: (folder) => loaded(join(folder, "large.safetensors")),
  },
  saveFolder: {
    write: (folder, k) => version(k).saveFolder(join(folder, "model")),
    read: (folder) => loaded(join(folder, "model")),
  },
  exportOnnx: {
    write: (folder, k) => version(k).exportOnnx(join(folder, "model.onnx"), { shape: [1, 1, 16, 16] }),
    read: (folder) => sha(join(folder, "model.onnx")),
  },
  previewBatch: {
    write: (folder, k) => previewBatch(data, { path: join(folder, "preview.png"), batchSize: 4 + k }),
    read: (folder) => sha(join(folder, "preview.png")),
  },
  report: {
    write: (folder, k) => report(version(k), undefined, data, { file: join(folder, "report.html"), title: `version ${k}` }),
    read: (folder) => /<title>(.*?)<\/title>.*<\/html>\s*$/s.exec(readFileSync(join(folder, "report.html"), "utf8"))[1],
  },
  csvLog: {
    isLog: true,
    write: (folder) => fit(tinyModel(), data, { ...training, onEvent: csvLog(join(folder, "epochs.csv")) }),
    read: (folder) => wholeTable(join(folder, "epochs.csv")),
  },
  jsonlLog: {
    isLog: true,
    write: (folder) => fit(tinyModel(), data, { ...training, onEvent: jsonlLog(join(folder, "events.jsonl")) }),
    read: (folder) => wholeEvents(join(folder, "events.jsonl")),
  },
  TensorBoard: {
    isLog: true,
    write: (folder) => fit(tinyModel(), data, { ...training, onEvent: new TensorBoard(join(folder, "board")).onEvent }),
    read: (folder) => `${readdirSync(join(folder, "board")).length > 0}`,
  },
};
