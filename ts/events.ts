import type { EpochRow } from "./history.js";

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
  /** Share of the epoch's time so far, from 0 to 1, in which steps waited for their data. */
  readonly waiting: number;
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

/** An epoch came to its end. */
export interface EpochEvent extends EpochRow {
  /** Tells the kinds of events apart. */
  readonly type: "epoch";
}

/** What a training run tells. Who reads slowly gets the newest step, not each one; an epoch's end is never left out. */
export type FitEvent = StepEvent | ValidationEvent | EpochEvent;

/** Events on their way to one reader. */
export class EventQueue {
  readonly #events: FitEvent[];
  #end: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(past: readonly FitEvent[]) {
    this.#events = [...past];
  }

  /** Adds an event; it takes the place of an unread one of its kind. */
  push(event: FitEvent): void {
    const last = this.#events.at(-1);
    if (event.type !== "epoch" && event.type === last?.type) this.#events.pop();
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
