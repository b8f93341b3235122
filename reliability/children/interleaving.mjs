// Random orders of calls to one model that overlap, beside a plain model of what each may lead to.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { evaluate, fit, ResNetError, Trainer } from "resnet-native";
import { given, tell } from "./given.mjs";
import { digest, images, spots, tinyModel } from "./subjects.mjs";

const { folder, seed, runs, commands: most } = given;
const data = spots(16);
const file = join(folder, "m.safetensors");
await tinyModel().save(file);
const reason = new Error("aborted");

/** What calls do, whether they write to the model, and what else may come of them than that they are done. */
const calls = {
  fit: { writes: true, does: (model, signal) => fit(model, data, { epochs: 2, batchSize: 4, signal }) },
  "endless fit": { writes: true, isEndless: true, does: (model, signal, onStep) => fit(model, data, { epochs: 1e6, batchSize: 4, signal, onStep }) },
  step: { writes: true, does: (model, signal) => new Trainer(model).step(images(4), [0, 1, 2, 3], { signal }) },
  loadWeights: { writes: true, does: (model, signal) => model.loadWeights(file, { signal }) },
  to: { writes: true, does: (model) => model.to("cpu", { threads: 2 }) },
  // Running statistics never change.
  training: { does: (model, signal) => model.forward(images(4), { training: true, signal }) },
  predict: { does: (model, signal) => model.predict(images(4), { signal }) },
  evaluate: { does: (model, signal) => evaluate(model, data, { signal }) },
  save: { does: (model, signal) => model.save(file, { signal }) },
  stateDict: { does: (model) => model.stateDict() },
};

/** The plain model: which calls are under way, whether the model was disposed of. */
class State {
  pending = [];
  isDisposed = false;

  async settled() {
    for (const { controller, isEndless } of this.pending) if (isEndless) controller.abort(reason);
    await Promise.all(this.pending.map(({ end }) => end));
    this.pending = [];
  }
}

/** Begins a call, and judges how it ends when it does. */
class Begin {
  constructor(name) {
    this.name = name;
  }
  check = () => true;
  async run(state, real) {
    const { writes = false, isEndless = false, does } = calls[this.name];
    const controller = new AbortController();
    const began = { name: this.name, writes, isEndless, controller, wasDisposed: state.isDisposed };
    // Another writer that is under way, or may still be, has it refused; one that has made a step certainly.
    began.mayBeBusy = writes && state.pending.some((other) => other.writes);
    began.mustBeBusy = writes && state.pending.some((other) => other.isRunning && !other.controller.signal.aborted);
    state.pending.push(began);
    began.end = Promise.resolve().then(() => does(real.model, controller.signal, () => { began.isRunning = true; })).then(() => undefined, (error) => ({ error })).then((thrown) => {
      state.pending = state.pending.filter((other) => other !== began);
      const problem = judge(began, state, thrown?.error);
      if (problem) real.problems.push(`${this.name}: ${problem}`);
      return problem;
    });
  }
  toString = () => this.name;
}

function judge(began, state, error) {
  if (!error) {
    if (began.mustBeBusy) return "is done, though a fit was under way";
    return began.wasDisposed ? "is done, though the model was disposed of before" : undefined;
  }
  if (error === reason) return began.controller.signal.aborted ? undefined : "is aborted, though nobody has";
  if (!(error instanceof ResNetError)) return `ends with ${error.stack ?? error}`;
  if (error.code === "ERR_DISPOSED") return state.isDisposed ? undefined : "says that the model was disposed of";
  if (began.wasDisposed) return `ends with ${error.code} after the model was disposed of`;
  if (error.code === "ERR_BUSY") return began.mayBeBusy ? undefined : "says that the model is busy, though nothing writes to it";
  return `ends with ${error.code}: ${error.message}`;
}

class Abort {
  constructor(place) {
    this.place = place;
  }
  check = (state) => state.pending.length > 0;
  async run(state) {
    state.pending[this.place % state.pending.length].controller.abort(reason);
  }
  toString = () => `abort ${this.place}`;
}

class Wait {
  constructor(ms) {
    this.ms = ms;
  }
  check = () => true;
  run = () => sleep(this.ms);
  toString = () => `wait ${this.ms}`;
}

class Settle {
  check = () => true;
  run = (state) => state.settled();
  toString = () => "settle";
}

class Dispose {
  check = () => true;
  async run(state, real) {
    real.model.dispose();
    state.isDisposed = true;
  }
  toString = () => "dispose";
}

/** When all has ended, a right call works: nothing stays busy. */
class Check {
  check = (state) => !state.isDisposed;
  async run(state, real) {
    await state.settled();
    await fit(real.model, data, { epochs: 1, batchSize: 8 });
    if (!(await digest(real.model))) throw new Error("no weights");
  }
  toString = () => "check";
}

const begins = fc.constantFrom(...Object.keys(calls)).map((name) => new Begin(name));
const commands = fc.commands(
  [begins, begins, begins, fc.nat(9).map((place) => new Abort(place)), fc.nat(6).map((ms) => new Wait(ms)), fc.constant(new Settle()), fc.constant(new Check()), fc.constant(new Dispose())],
  { maxCommands: most, size: "max" },
);
let made = 0;
const property = fc.asyncProperty(commands, async (all) => {
  const real = { model: tinyModel(), problems: [] };
  const state = new State();
  try {
    await fc.asyncModelRun(() => ({ model: state, real }), all);
    await state.settled();
    made++;
    if (real.problems.length > 0) throw new Error(real.problems.join("; "));
  } finally {
    await state.settled();
    real.model.dispose();
  }
});
const result = await fc.check(property, { seed, numRuns: runs });
tell({ made, failures: result.failed ? [`${fc.stringify(result.counterexample)}: ${result.errorInstance?.stack ?? result.errorInstance}`] : [] });
process.exit();
