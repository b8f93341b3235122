import { inspect } from "node:util";
import { check, list, made, type Rule } from "./options.js";
import { table } from "./table.js";

declare module "./errors.js" {
  interface ResNetError {
    /** The epochs that a training run had ended when it failed. */
    readonly history?: History;
  }
}

/** What tells how good a network is: over the validation set, or over the training samples of an epoch. */
export type Monitor = "validationLoss" | "validationAccuracy" | "loss" | "accuracy";

/** Where a run's weights were the best. */
export interface BestEpoch {
  /** Counts from 1. */
  readonly epoch: number;
  /** Updates of that epoch that had been made. */
  readonly step: number;
  /** What was looked at. */
  readonly monitor: Monitor;
  /** Its value. */
  readonly value: number;
}

/** A row of the history. */
export interface EpochRow {
  /** Counts from 1. */
  readonly epoch: number;
  /** Mean loss of the training samples, each before the update that used it. */
  readonly loss: number;
  /** Accuracy of the training samples, likewise. */
  readonly accuracy: number;
  /** Mean loss of the validation samples after the epoch, if they were evaluated then. */
  readonly validationLoss?: number;
  /** Accuracy of the validation samples after the epoch, likewise. */
  readonly validationAccuracy?: number;
  /** Learning rate of the epoch's last step. */
  readonly lr: number;
  /** Seconds that the epoch took, validation included. */
  readonly seconds: number;
  /** Share of the time of its steps, from 0 to 1, in which they waited for their data; every row of a run has it. */
  readonly waiting?: number;
}

const rowRule: Rule<EpochRow> = {
  expected: "a row with its numbers",
  accepts: (value) => {
    const { epoch, loss, accuracy, validationLoss = 0, validationAccuracy = 0, lr, seconds } = value as EpochRow;
    return [epoch, loss, accuracy, validationLoss, validationAccuracy, lr, seconds].every((number) => typeof number === "number");
  },
};
export const rowsRule = { ...list(rowRule, "an array of rows with their numbers"), most: Infinity };

/** What the run of a history was told, as a report shows it. */
export const settingsOf = new WeakMap<History, object>();

/** What a training run achieved, epoch by epoch. Prints as a table. */
export class History {
  static readonly #rule: Rule<History> = made("a history such as fit gives", (value) => #rows in value);
  readonly #rows: EpochRow[] = [];
  /** The epochs, in order. */
  readonly rows: EpochRow[] = this.#rows;
  /** Whether the run ended before its last epoch because no improvement came in time, see {@link FitOptions.earlyStopping}. */
  readonly stoppedEarly: boolean = false;
  /** Where the weights were the best so far, with {@link FitOptions.restoreBest} or `earlyStopping`. */
  readonly best?: BestEpoch;

  /** The rows as a table. */
  toString(): string {
    const given = check("rows", check("this", this, History.#rule).#rows, rowsRule);
    const shown = (value: number | undefined) => value?.toFixed(4) ?? "–";
    const rows = given.map((row) => [
      String(row.epoch),
      shown(row.loss),
      shown(row.accuracy),
      shown(row.validationLoss),
      shown(row.validationAccuracy),
      String(row.lr),
      row.seconds.toFixed(1),
    ]);
    const head = ["epoch", "loss", "accuracy", "validation loss", "validation accuracy", "lr", "seconds"];
    return table(head, rows);
  }

  /** @internal */
  [inspect.custom](): string {
    return History.prototype.toString.call(this);
  }
}
