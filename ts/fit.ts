import { type Augmentation, augmentRule, describeAugment } from "./augmentation.js";
import type { NativeRun } from "./binding.js";
import { type CheckpointOptions, describeCheckpoint } from "./checkpoint.js";
import { type CourseOptions, courseRules, describeCourse } from "./course.js";
import { checkDashboard, type DashboardOptions, dashboardRule, openDashboard, type Page } from "./dashboard.js";
import { type Dataset, loaderThreadsRule, nativeDataOf } from "./data.js";
import { fields } from "./description.js";
import { type ErrorCode, ResNetError, translate, translated } from "./errors.js";
import { type CheckpointEvent, type EpochBeginEvent, type EvaluationEvent, EventQueue, type FitEvent, type FitListener, type StepEvent } from "./events.js";
import { type BestEpoch, type EpochRow, History, settingsOf } from "./history.js";
import { type Model, nativeOf } from "./models.js";
import { boolean, callback, check, checkOptions, either, filePath, isList, list, made, object, path, type Rule, type Rules, seed, size } from "./options.js";
import { defaultSchedule } from "./default-training.js";
import { type Sampler, samplerRule } from "./sampler.js";
import { describeSchedule, type Schedule, scheduleRule } from "./schedule.js";
import { describeShards, failRanks, givenRanks, type ShardOptions, shardRules, toldOf } from "./shards.js";
import { onAbort, type SignalOptions, signalRules } from "./signal.js";
import { partsOf, type TrainingData } from "./training-data.js";
import { describeUpdates, type UpdateOptions, updateRules } from "./updates.js";

/** Options of {@link fit}. */
export interface FitOptions extends SignalOptions, UpdateOptions, CourseOptions, ShardOptions {
  /** How many times the training set is gone through, default 1. */
  epochs?: number;
  /** Samples of a batch, default 128; of an update, unless several batches are accumulated. */
  batchSize?: number;
  /**
   * How the learning rate changes in the course of the run, such as `cosine()`. By default the rate of the `optimizer` that is given stays as
   * it is; if none is given either, it rises for a fifth of the run and falls to 0 as a cosine.
   */
  schedule?: Schedule;
  /** Seed of the sample order and of what changes images, by default the model's. */
  seed?: number;
  /** Whether each epoch takes the samples in an order of its own, default true. */
  shuffle?: boolean;
  /** Which samples an epoch takes, instead of each once: see {@link balancedSampler}. */
  sampler?: Sampler;
  /** How the images for training are changed at random, in each epoch otherwise; by default not at all. */
  augment?: readonly Augmentation[];
  /** Whether a last batch that is not full is left out, default false. */
  dropLast?: boolean;
  /** Threads that prepare batches, default 1, or where pictures are decoded as many as there are cores, up to 8. They change nothing else. */
  loaderThreads?: number;
  /** Where and when the run writes checkpoints; by default it writes none. */
  checkpoint?: CheckpointOptions;
  /**
   * The checkpoint to go on from: its file, or the folder, whose last one it is. The model, data and options must be those of the run that
   * wrote it, but for `epochs`, `loaderThreads`, `gradientNorm` and `checkpoint`; the weights, the history and all that follows are then those of a run that
   * was never stopped, to the last bit. With other `epochs` the `schedule` may be another too, and one that depends on the run's length goes on
   * as in a run of so many. Of a folder's checkpoints the last whole one counts: newer ones that are damaged are passed over, which costs
   * their time and nothing else, and told in the event `resume`. Data are told by their labels, names and numbers, pictures in files by the files' names and lengths: one that was
   * replaced by another of the same length goes unnoticed, since copies have other dates. With the folder of `checkpoint` a run begins where there is no checkpoint yet, so that a program
   * that is started again goes on by itself.
   */
  resume?: string | URL;
  /**
   * Called with each event, in order: what keeps a log, such as {@link jsonlLog} and {@link TensorBoard}. Training waits for what they return but
   * for events `step` and `validation`, of which they get the newest as often as the event loop gets to it, and after an abort. One that throws
   * ends the run.
   */
  onEvent?: FitListener | readonly FitListener[];
  /**
   * Whether the run has a page to look at in a browser while it lasts, default false: curves, speed, memory, training images, and buttons to pause
   * and stop it. {@link FitRun.dashboard} tells its address. Without another `host` it is on this machine alone. Looking at it changes no bit of the run.
   */
  dashboard?: boolean | DashboardOptions;
  /** Called before each epoch. If it returns a promise, training waits for it. */
  onEpochBegin?: (event: EpochBeginEvent) => unknown;
  /** Called with the newest step as often as the event loop gets to it. */
  onStep?: (event: StepEvent) => unknown;
  /** Called after each evaluation of the validation set. If it returns a promise, training waits for it. */
  onEvaluate?: (event: EvaluationEvent, history: History) => unknown;
  /** Called after each epoch. If it returns a promise, training waits for it. */
  onEpochEnd?: (row: EpochRow, history: History) => unknown;
  /** Called when a checkpoint has been written, which is there to stay then. If it returns a promise, training waits for it. */
  onCheckpoint?: (event: CheckpointEvent, history: History) => unknown;
}

/** Why a checkpoint cannot be written. */
const UNWRITTEN: ReadonlySet<string> = new Set(["ERR_IO", "ERR_OUT_OF_MEMORY", "ERR_NON_FINITE_WEIGHTS", "ERR_DEVICE"]);

const listenersRule = { ...either(callback, list(callback, "")), expected: "a function, such as a TensorBoard's onEvent, or an array of functions" } as unknown as Rule<FitListener | readonly FitListener[]>;
const rules: Rules<FitOptions> = {
  ...signalRules,
  epochs: size,
  batchSize: size,
  ...updateRules,
  schedule: scheduleRule,
  seed,
  shuffle: boolean,
  sampler: samplerRule,
  augment: augmentRule,
  dropLast: boolean,
  loaderThreads: loaderThreadsRule,
  ...courseRules,
  ...shardRules,
  onEvent: listenersRule,
  dashboard: dashboardRule,
  onEpochBegin: callback as Rules<FitOptions>["onEpochBegin"],
  onStep: callback as Rules<FitOptions>["onStep"],
  onEvaluate: callback as Rules<FitOptions>["onEvaluate"],
  onEpochEnd: callback as Rules<FitOptions>["onEpochEnd"],
  checkpoint: object as Rules<FitOptions>["checkpoint"],
  resume: path,
  onCheckpoint: callback as Rules<FitOptions>["onCheckpoint"],
};

/**
 * Trains a model, on threads of its own. Starts at once and never throws: await the result for the {@link History},
 * iterate it for the events, or both.
 *
 * An abort stops within one batch and rejects with the signal's reason; a callback that throws rejects with what it
 * threw. The weights are then those of the last whole step, and the error, where it is an object, has the `history` so far.
 *
 * A second `fit` of a model goes on from its weights, running statistics and number of updates; dropout therefore drops what it would in
 * a longer run. All else begins anew: epochs count from 1, so that with the same seed the samples come in the same orders again, and
 * the optimiser has kept nothing, such as momentum; `initialEpoch` has the epochs count on, with their orders and rates. So two runs of one epoch make the weights of one run of two only with `shuffle: false`
 * and without momentum. Another `seed` gives the second run orders of its own.
 *
 * @example
 * ```ts
 * const run = fit(model, data, { epochs: 10, optimizer: sgd({ lr: 0.01 }) });
 * for await (const event of run) if (event.type === "epoch") console.log(event.validationAccuracy);
 * const history = await run;
 * ```
 *
 * Rejects with `ERR_BUSY` while another call writes to the model, `ERR_SHAPE` or `ERR_LABEL` if the data do not fit,
 * `ERR_NON_FINITE_LOSS` and `ERR_NON_FINITE_WEIGHTS` if loss or weights become NaN or infinite, see {@link ErrorCode};
 * `ERR_INVALID_ARGUMENT` for options that cannot be. With checkpoints: `ERR_CHECKPOINT` for those of another run, `ERR_MODEL_FILE` for a
 * damaged one (of a folder if all are), `ERR_IO` where there is none or it cannot be written, `ERR_BUSY` for a folder that another run uses; each before anything is
 * trained, but for a full disk, which leaves the checkpoints that are there. `ERR_IO` also where a `dashboard` cannot be served.
 */
export function fit(model: Model, data: Dataset | TrainingData, options?: FitOptions): FitRun {
  return new FitRun(model, data, options);
}

/** A training run: a promise of its {@link History}, and an iterable of its events. Made by {@link fit}. */
export class FitRun implements Promise<History>, AsyncIterable<FitEvent> {
  /** Its name in `Object.prototype.toString`, as promises have one. */
  readonly [Symbol.toStringTag] = "FitRun";
  static readonly #rule: Rule<FitRun> = made("a run that fit started", (value) => #result in value);
  readonly #history = new History();
  readonly #readers = new Set<EventQueue>();
  readonly #result: Promise<History>;
  #end: { readonly error?: unknown } | undefined;
  #awaited = false;
  #native: NativeRun | undefined;
  #paused = false;
  #page: Page | undefined;
  #isStopped = false;
  #announce!: (url: string | undefined) => void;
  /**
   * The address of the run's page, as soon as it can be opened; `undefined` of a run that has none, or that failed before. It has the token that lets
   * its reader see, pause and stop the run: it stands in no event, so that no log keeps it.
   */
  readonly dashboard: Promise<string | undefined> = new Promise((resolve) => (this.#announce = resolve));

  /** @internal */
  constructor(model: Model, data: Dataset | TrainingData, options: FitOptions | undefined) {
    this.#result = this.#conduct(model, data, options);
    this.#result.then(
      () => this.#close({}),
      (error: unknown) => {
        // Who iterates gets the error there. If nobody listens, it must surface as an unhandled rejection does.
        const heard = this.#readers.size > 0;
        this.#close({ error });
        setImmediate(() => heard || this.#awaited || void Promise.reject(error));
      },
    );
  }

  /** As `Promise.then`; whoever calls it hears of a failure. */
  // oxlint-disable-next-line unicorn/no-thenable -- to be awaited is what it is for
  then<A = History, B = never>(
    onFulfilled?: ((history: History) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    const run = check("this", this, FitRun.#rule);
    run.#awaited = true;
    return run.#result.then(onFulfilled, onRejected);
  }

  /** As `Promise.catch`; gets what the run rejects with. */
  catch<B = never>(onRejected?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<History | B> {
    return FitRun.prototype.then.call(this, undefined, onRejected) as Promise<History | B>;
  }

  /** As `Promise.finally`; whoever calls it hears of a failure. */
  finally(onSettled?: (() => void) | null): Promise<History> {
    const run = check("this", this, FitRun.#rule);
    run.#awaited = true;
    return run.#result.finally(onSettled);
  }

  /** The events; leaving the iteration only stops listening. */
  [Symbol.asyncIterator](): AsyncGenerator<FitEvent, void, void> {
    check("this", this, FitRun.#rule);
    const queue = new EventQueue(this.#history.rows.map((row) => ({ type: "epoch", ...row })));
    if (this.#end === undefined) this.#readers.add(queue);
    else queue.close(this.#end);
    this.#awaited ||= this.#end !== undefined;
    return queue.read(() => this.#readers.delete(queue));
  }

  /**
   * Holds the run before its next step until {@link FitRun.resume}; without effect if it is held already or has ended. `predict`, `save` and other
   * readers are served meanwhile, an abort ends the run, and the time does not count.
   */
  pause(): void {
    FitRun.#hold(this, true);
  }

  /** Lets a paused run go on. */
  resume(): void {
    FitRun.#hold(this, false);
  }

  /** Whether the run is paused. */
  get paused(): boolean {
    return check("this", this, FitRun.#rule).#paused;
  }

  static #hold(given: FitRun, paused: boolean): void {
    const run = check("this", given, FitRun.#rule);
    if (run.#end !== undefined || run.#paused === paused) return;
    run.#paused = paused;
    run.#native?.pause(paused);
    run.#page?.paused(paused);
  }

  async #conduct(model: Model, data: Dataset | TrainingData, options?: FitOptions): Promise<History> {
    try {
      return await this.#shared(model, data, options);
    } catch (error) {
      // Others are told by the run itself, once there is one.
      if (this.#native === undefined && options?.distributed) failRanks(error, options.distributed);
      throw error;
    }
  }

  async #shared(model: Model, data: Dataset | TrainingData, options?: FitOptions): Promise<History> {
    const { signal, onEvent = [], dashboard, onEpochBegin, onStep, onEvaluate, onEpochEnd, onCheckpoint, ...settings } = checkOptions(options, rules);
    const listeners = [...((isList(onEvent) ? onEvent : [onEvent]) as readonly FitListener[])];
    const history = this.#history;
    settingsOf.set(history, settings);
    const start = prepared(model, data, settings);
    const isFirst = (givenRanks(settings.distributed)?.rank ?? 0) === 0;
    if (!isFirst) listeners.length = 0;
    const board = isFirst ? checkDashboard(dashboard) : undefined;
    let stop = async () => false;
    if (board !== undefined) {
      const controls = { pause: (paused: boolean) => FitRun.#hold(this, paused), stop: async () => stop() };
      this.#page = await openDashboard(board, { model, ...partsOf(data) }, settings, controls);
      listeners.push(this.#page.tell);
      signal?.throwIfAborted();
    }
    const run = start();
    this.#native = run;
    if (this.#paused) {
      run.pause(true);
      this.#page?.paused(true);
    }
    const canceller = new Canceller(run);
    const cancel = (reason: unknown) => {
      this.#isStopped = true;
      this.#page?.abandon();
      canceller.cancel(reason);
    };
    const ignore = onAbort(signal, () => cancel(signal?.reason));
    const { onStop = () => cancel(new DOMException("The run was stopped on its page", "AbortError")) } = board ?? {};
    stop = async () => {
      await canceller.watch(onStop);
      return canceller.cancelled;
    };
    this.#announce(this.#page?.url);
    /** Tells all of an event; resolves when those that are called with it have ended. */
    const tell = (event: FitEvent, callBack?: () => unknown) => {
      for (const reader of this.#readers) reader.push(event);
      const heard = Promise.all(listeners.map(async (listener) => listener(event, history)));
      // Whose errors after an abort nobody waits for: the checkpoint that it left is told too.
      heard.catch(() => {});
      return canceller.watch(() => Promise.all([heard, callBack?.()]));
    };
    try {
      let next = run.next();
      for (let done = false; !done;) {
        const progress = await next;
        done = progress.done;
        // Asked for before callbacks: a run that ends under one of them, as a model that is disposed of ends it, waits for none.
        if (!done) next = run.next();
        canceller.endsWith(next);
        const { best, stoppedEarly = false, held } = progress;
        if (progress.resumed) {
          const { rows, path, steps, skipped } = progress.resumed;
          history.rows.push(...rows);
          await tell({ type: "resume", path, epoch: (rows.at(-1)?.epoch ?? settings.initialEpoch ?? 0) + 1, steps, skipped });
        }
        if (progress.step) {
          const event = { type: "step", ...progress.step } as const;
          void tell(event, () => onStep?.(event));
        }
        if (progress.validation) void tell({ type: "validation", ...progress.validation });
        Object.assign(history, best && { best: best as BestEpoch }, stoppedEarly && { stoppedEarly });
        if (progress.epochBegin) {
          const event = { type: "epochBegin", ...progress.epochBegin } as const;
          await tell(event, () => onEpochBegin?.(event));
        }
        if (progress.evaluation) {
          const { loss, accuracy, ...place } = progress.evaluation;
          const event = { type: "evaluation", ...place, validationLoss: loss, validationAccuracy: accuracy } as const;
          await tell(event, () => onEvaluate?.(event, history));
        }
        if (progress.epoch) {
          const row = progress.epoch;
          history.rows.push(row);
          await tell({ type: "epoch", ...row }, () => onEpochEnd?.(row, history));
        }
        if (progress.checkpoint) {
          const event = { type: "checkpoint", ...progress.checkpoint } as const;
          await tell(event, () => onCheckpoint?.(event, history));
        }
        if (held !== undefined) run.acknowledge(held);
      }
      canceller.check();
      return history;
    } catch (error) {
      const failure = translatedOf(error);
      // A checkpoint that an abort was to leave and could not is not kept secret by the abort.
      const isOwn = failure !== error && UNWRITTEN.has((failure as ResNetError).code);
      throw withHistory(canceller.cancelled && !isOwn ? canceller.reason : failure, history);
    } finally {
      ignore();
    }
  }

  #close(end: { readonly error?: unknown }): void {
    this.#end = end;
    this.#paused = false;
    this.#announce(undefined);
    this.#page?.close(end, this.#isStopped);
    for (const reader of this.#readers) reader.close(end);
  }
}

/** Cancels a run, for the first reason that comes up. */
class Canceller {
  readonly #run: NativeRun;
  readonly #stopped: Promise<void>;
  #release!: () => void;
  cancelled = false;
  reason: unknown;

  constructor(run: NativeRun) {
    this.#run = run;
    this.#stopped = new Promise((resolve) => (this.#release = resolve));
  }

  cancel(reason: unknown): void {
    if (this.cancelled) return;
    this.cancelled = true;
    this.reason = reason;
    this.#run.cancel(toldOf(reason));
    this.#release();
  }

  /** Callbacks are not waited for any longer when this fails: the run is over then. */
  endsWith(next: Promise<unknown>): void {
    next.catch(() => this.#release());
  }

  /** Calls back; an error, also a later one, stops the run. Resolves when the callback has ended, or the run must. */
  async watch(call: () => unknown): Promise<void> {
    if (this.cancelled) return;
    const called = (async () => call())().catch((error: unknown) => this.cancel(error));
    await Promise.race([called, this.#stopped]);
  }

  check(): void {
    if (this.cancelled) throw this.reason;
  }
}

/** An error of this package that another process was ended by, as it would be here. */
function translatedOf(error: unknown): unknown {
  const translated = translate(error);
  const [, rank, code, message] = (translated instanceof ResNetError && translated.code === "ERR_ABORTED" && /^(rank \d+: )(ERR_[A-Z_]+): (.*)$/s.exec(translated.message)) || [];
  return code === undefined ? translated : new ResNetError(code as ErrorCode, `${rank}${message}`);
}

/** What starts the run; wrong options and data are refused before. */
function prepared(model: Model, data: Dataset | TrainingData, options: FitOptions): () => NativeRun {
  const { epochs = 1, batchSize = 128, optimizer, seed, shuffle = true, dropLast = false, ...others } = options;
  const { schedule = optimizer === undefined ? defaultSchedule() : undefined, sampler, augment = [], loaderThreads, checkpoint, resume, distributed, shards, syncBatchNorm, ...updates } = others;
  const update = describeUpdates({ optimizer, ...updates });
  const native = nativeOf(model);
  const { train, validation } = partsOf(data);
  const samples = nativeDataOf(train!, "data.train");
  const held = validation === undefined ? undefined : nativeDataOf(validation, "data.validation");
  const chosen = { augment: describeAugment(augment), balance: sampler?.power };
  const settings = fields({ epochs, batchSize, ...chosen, seed, shuffle, dropLast, loaderThreads });
  const files = { checkpoint: describeCheckpoint(checkpoint), resume: resume && filePath("resume", resume) };
  const config = { ...settings, ...update, ...files, ...describeShards({ shards, syncBatchNorm }), schedule: describeSchedule(schedule), course: describeCourse(options) };
  const told = JSON.stringify(config);
  return () => translated(() => native.fit(samples, held, told, givenRanks(distributed)));
}

function withHistory(error: unknown, history: History): unknown {
  if (typeof error === "object" && error !== null && Object.isExtensible(error)) {
    Object.defineProperty(error, "history", { value: history, configurable: true, writable: true });
  }
  return error;
}
