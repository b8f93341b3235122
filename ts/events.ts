import type { EpochRow, History } from "./history.js";
import { check, type Rule } from "./options.js";

/** An update was made. */
export interface StepEvent {
  /** Tells the kinds of events apart. */
  readonly type: "step";
  /** Counts from 1. */
  readonly epoch: number;
  /** Counts from 1 in each epoch. */
  readonly step: number;
  /** Steps of an epoch. */
  readonly steps: number;
  /** Mean loss of the batch, before the update. */
  readonly loss: number;
  /** Accuracy of the batch, before the update. */
  readonly accuracy: number;
  /** Learning rate of the update, before the factors of groups. */
  readonly lr: number;
  /** Images a second since the epoch began. */
  readonly imagesPerSecond: number;
  /** Seconds until the epoch's last step at that speed. */
  readonly secondsLeft: number;
  /** Norm of all gradients that are not frozen together, before clipping, with the option `gradientNorm`. */
  readonly gradientNorm?: number;
  /** Share of the epoch's time so far, from 0 to 1, in which steps waited for their data. */
  readonly waiting: number;
}

/** An epoch is about to begin. */
export interface EpochBeginEvent {
  /** Tells the kinds of events apart. */
  readonly type: "epochBegin";
  /** Counts from 1. */
  readonly epoch: number;
  /** Steps of the epoch. */
  readonly steps: number;
}

/** A batch of the validation set was evaluated. */
export interface ValidationEvent {
  /** Tells the kinds of events apart. */
  readonly type: "validation";
  /** Counts from 1. */
  readonly epoch: number;
  /** Samples evaluated. */
  readonly done: number;
  /** Samples in all. */
  readonly total: number;
}

/** The whole validation set was evaluated. */
export interface EvaluationEvent {
  /** Tells the kinds of events apart. */
  readonly type: "evaluation";
  /** Counts from 1. */
  readonly epoch: number;
  /** Steps of the epoch that had been made. */
  readonly step: number;
  /** Mean loss of the validation samples. */
  readonly validationLoss: number;
  /** Accuracy of the validation samples. */
  readonly validationAccuracy: number;
}

/** An epoch came to its end. */
export interface EpochEvent extends EpochRow {
  /** Tells the kinds of events apart. */
  readonly type: "epoch";
}

/** A checkpoint was written: it is there to stay, whatever happens. */
export interface CheckpointEvent {
  /** Tells the kinds of events apart. */
  readonly type: "checkpoint";
  /** Its file. */
  readonly path: string;
  /** The epoch that is under way or comes next; counts from 1. */
  readonly epoch: number;
  /** Steps of that epoch that had been made. */
  readonly step: number;
}

/** The run goes on from a checkpoint, as the option `resume` says. */
export interface ResumeEvent {
  /** Tells the kinds of events apart. */
  readonly type: "resume";
  /** The checkpoint's file. */
  readonly path: string;
  /** The epoch that is under way or comes next; counts from 1. The history has the rows of those before. */
  readonly epoch: number;
  /** Steps of an epoch. */
  readonly steps: number;
  /**
   * Newer checkpoints of the folder that are damaged and were passed over, the newest first; mostly none. It also lists `best.safetensors` if that
   * is damaged. It is made anew then, and where it is missing: with `restoreBest` at once, else by the next evaluation, which counts as the best.
   */
  readonly skipped: readonly SkippedCheckpoint[];
}

/** A checkpoint that is damaged. */
export interface SkippedCheckpoint {
  /** Its file; in the folder of the run's own checkpoints it has got a name that begins with `damaged-`. */
  readonly path: string;
  /** What is wrong with it. */
  readonly reason: string;
}

/** What a training run tells. Who reads slowly gets the newest step and the newest batch of a validation, not each one; nothing else is left out. */
export type FitEvent = EpochBeginEvent | StepEvent | ValidationEvent | EvaluationEvent | EpochEvent | CheckpointEvent | ResumeEvent;

/** What a run calls with each of its events, and what it has achieved so far. */
export type FitListener = (event: FitEvent, history: History) => unknown;

const KINDS: ReadonlySet<unknown> = new Set<FitEvent["type"]>(["epochBegin", "step", "validation", "evaluation", "epoch", "checkpoint", "resume"]);
const eventRule: Rule<FitEvent> = {
  expected: "an event of fit, which calls its listeners with them",
  accepts: (value) => KINDS.has((value as FitEvent | undefined)?.type) && Number.isSafeInteger((value as FitEvent).epoch),
};

/** Returns what a listener is called with, if it is an event. */
export function checkEvent(event: FitEvent): FitEvent {
  return check("event", event, eventRule);
}

/** Events on their way to one reader. */
export class EventQueue {
  readonly #events: FitEvent[];
  #end: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(past: readonly FitEvent[]) {
    this.#events = [...past];
  }

  /** Adds an event; a step or a batch of a validation takes the place of an unread one. */
  push(event: FitEvent): void {
    const last = this.#events.at(-1);
    if ((event.type === "step" || event.type === "validation") && event.type === last?.type) this.#events.pop();
    this.#events.push(event);
    this.#wake?.();
  }

  /** No more events will come; the reader gets the error, if there is one. */
  close(end: { readonly error?: unknown }): void {
    this.#end = end;
    this.#wake?.();
  }

  /** The reader's side. */
  async *read(onReturn: () => void): AsyncGenerator<FitEvent, void, void> {
    try {
      for (;;) {
        const event = this.#events.shift();
        if (event !== undefined) {
          yield event;
        } else if (this.#end !== undefined) {
          if ("error" in this.#end) throw this.#end.error;
          return;
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      }
    } finally {
      onReturn();
    }
  }
}
