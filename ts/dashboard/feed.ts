import type { FitEvent } from "../events.js";
import type { EpochRow, History } from "../history.js";
import { Curve, type Point } from "./curve.js";
import type { End } from "./watched-run.js";

/** Milliseconds between two pieces of news, at least. */
const PAUSE = 250;
/** Epochs that a page that comes late is told of, at most: of more every second one, every third and so on, and the last. */
const MOST_EPOCHS = 2000;

/** A validation of the run: where it stands, in epochs, and what it told. */
type Measured = readonly [place: number, loss: number, accuracy: number];

/** A confusion matrix as markup, and when it was taken. */
export interface Matrix {
  readonly epoch: number;
  readonly markup: string;
}

/** Where the run is. */
interface State {
  epoch: number;
  readonly epochs: number;
  step: number;
  steps: number;
  /** Whether it may end before its last epoch. */
  readonly mayEndEarly: boolean;
  lr?: number;
  loss?: number;
  accuracy?: number;
  imagesPerSecond?: number;
  waiting?: number;
  /** Seconds until the last step, about. */
  secondsLeft?: number;
  /** Samples of the validation that is under way. */
  validation?: { readonly done: number; readonly total: number };
  paused: boolean;
  stopping: boolean;
  /** Bytes of memory that the process has. */
  memory: number;
  /** Of confusion matrices: whether they are wanted, and seconds that the last one took. */
  confusion: { wanted: boolean; seconds?: number };
  end?: End;
}

/** What pages are told of a run: all that was so far when they come, then the news, as lines of JSON. */
export class Feed {
  readonly state: State;
  readonly #curve = new Curve();
  readonly #measured: Measured[] = [];
  readonly #readers = new Set<(message: string) => void>();
  #rows: readonly EpochRow[] = [];
  #matrix: Matrix | undefined;
  /** What the last news had. */
  #told = { number: 0, points: 0, rows: 0, measured: 0, matrix: undefined as Matrix | undefined };
  #isAnew = false;
  #isChanged = false;
  #timer: NodeJS.Timeout | undefined;
  #last = -Infinity;

  constructor(course: Pick<State, "epochs" | "mayEndEarly">) {
    this.state = { ...course, epoch: 0, step: 0, steps: 0, paused: false, stopping: false, memory: 0, confusion: { wanted: false } };
  }

  /** Pages that are told. */
  get readers(): number {
    return this.#readers.size;
  }

  /** Takes note of an event. */
  tell(event: FitEvent, { rows }: History): void {
    const { state } = this;
    this.#rows = rows;
    switch (event.type) {
      case "resume":
        state.steps = event.steps;
        for (const { epoch, validationLoss, validationAccuracy } of rows) {
          if (validationLoss !== undefined) this.#measured.push([epoch, validationLoss, validationAccuracy!]);
        }
        break;
      case "epochBegin":
        Object.assign(state, { epoch: event.epoch, step: 0, steps: event.steps, validation: undefined });
        break;
      case "step": {
        const { epoch, step, steps, loss, accuracy, lr, imagesPerSecond, waiting } = event;
        Object.assign(state, { epoch, step, steps, loss, accuracy, lr, imagesPerSecond, waiting, validation: undefined });
        state.secondsLeft = this.#left(event.secondsLeft);
        const made = this.#curve.add([epoch - 1 + step / steps, loss, accuracy, lr, imagesPerSecond]);
        this.#isAnew ||= made === "all";
        break;
      }
      case "validation":
        state.validation = { done: event.done, total: event.total };
        break;
      case "evaluation":
        this.#measured.push([event.epoch - 1 + event.step / state.steps, event.validationLoss, event.validationAccuracy]);
        state.validation = undefined;
        break;
      case "epoch":
        state.validation = undefined;
        state.secondsLeft = event.seconds * (state.epochs - event.epoch);
        break;
      case "checkpoint":
        return;
    }
    this.changed();
  }

  /** Seconds of the whole run, by those of the epoch that is under way and by the epoch before, which tells what a validation takes. */
  #left(secondsLeft: number): number | undefined {
    const { epoch, epochs, step, steps } = this.state;
    const before = this.#rows.at(-1)?.seconds;
    if (before !== undefined) return secondsLeft + (epochs - epoch) * before;
    return step < steps ? secondsLeft + ((epochs - epoch) * secondsLeft * steps) / (steps - step) : undefined;
  }

  /** A confusion matrix was taken. */
  set matrix(matrix: Matrix) {
    this.#matrix = matrix;
    this.changed();
  }

  /** The state has changed: pages hear of it soon. */
  changed(): void {
    this.#isChanged = true;
    if (this.#readers.size === 0) return;
    this.#timer ??= setTimeout(() => this.#send(), Math.max(0, this.#last + PAUSE - performance.now())).unref();
  }

  /** The last news, at once. */
  end(end: End): void {
    Object.assign(this.state, { end, paused: false, secondsLeft: undefined, validation: undefined });
    this.#isChanged = true;
    this.#send();
  }

  /** All that was so far. */
  snapshot(): string {
    // What is in it must not come again with the next news.
    this.#send();
    return this.#all();
  }

  /** Calls back with all that was so far and then with the news, until what is returned is called. */
  read(reader: (message: string) => void): () => void {
    reader(this.snapshot());
    this.#readers.add(reader);
    return () => this.#readers.delete(reader);
  }

  #all(): string {
    return this.#written("snapshot", this.#curve.points, thinned(this.#rows), thinned(this.#measured), this.#matrix);
  }

  #send(): void {
    if (!this.#isChanged) return;
    this.#isChanged = false;
    clearTimeout(this.#timer);
    [this.#timer, this.#last] = [undefined, performance.now()];
    const { points, rows, measured, matrix } = this.#told;
    this.#told = { number: this.#told.number + 1, points: this.#curve.points.length, rows: this.#rows.length, measured: this.#measured.length, matrix: this.#matrix };
    const isAnew = this.#isAnew;
    this.#isAnew = false;
    if (this.#readers.size === 0) return;
    const newMatrix = this.#matrix === matrix ? undefined : this.#matrix;
    const message = isAnew ? this.#all() : this.#written("news", this.#curve.points.slice(points), this.#rows.slice(rows), this.#measured.slice(measured), newMatrix);
    for (const reader of this.#readers) reader(message);
  }

  #written(kind: "snapshot" | "news", points: readonly Point[], rows: readonly EpochRow[], measured: readonly Measured[], matrix: Matrix | undefined): string {
    this.state.memory = process.memoryUsage.rss();
    return JSON.stringify({ kind, number: this.#told.number, state: this.state, points, rows, measured, matrix });
  }
}

function thinned<T>(all: readonly T[]): readonly T[] {
  const every = Math.ceil(all.length / MOST_EPOCHS);
  return every > 1 ? all.filter((_, i) => i % every === 0 || i === all.length - 1) : all;
}
