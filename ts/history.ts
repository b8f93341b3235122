import { inspect } from "node:util";
import { check, f32, integer, isList, made, object, properties, type Rule, unexpected } from "./options.js";
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

/** The numbers of a row, in order. */
export const COLUMNS = ["epoch", "loss", "accuracy", "validationLoss", "validationAccuracy", "lr", "seconds", "waiting"] as const satisfies readonly (keyof EpochRow)[];
/** Those that no row of a run lacks. */
export const REQUIRED_COLUMNS: readonly string[] = ["epoch", "loss", "accuracy", "lr", "seconds"];

const rowRule: Rule<object> = { ...object, expected: "a row of a History" };
const rowsRule: Rule<readonly EpochRow[]> = { expected: "a History or an array of its rows", accepts: isList, most: Infinity };
const epochRule = integer(0, Number.MAX_SAFE_INTEGER);
export const anyNumber: Rule<number> = { expected: "a number", accepts: (value) => typeof value === "number" };

/** Returns a row that has these numbers, and maybe others. */
export function checkRow(parameter: string, given: EpochRow, wanted: readonly string[]): EpochRow {
  const row = properties(parameter, rowRule.expected, check(parameter, given, rowRule) as EpochRow, COLUMNS);
  for (const name of COLUMNS) {
    if (row[name] !== undefined || wanted.includes(name)) check(`${parameter}.${name}`, row[name], name === "epoch" ? epochRule : anyNumber);
  }
  return row as EpochRow;
}

function checkRows(parameter: string, given: readonly EpochRow[], wanted: readonly string[]): EpochRow[] {
  return Array.from(check(parameter, given, rowsRule), (row, i) => checkRow(`${parameter}[${i}]`, row, wanted));
}

/** The rows of a history that can be drawn, each with these numbers. */
export function checkHistory(history: History | readonly EpochRow[], wanted: readonly string[]): readonly EpochRow[] {
  const { rows: own } = properties("history", rowsRule.expected, history as Partial<History>, ["rows"]);
  const rows = checkRows("history", own ?? (history as readonly EpochRow[]), wanted);
  for (const [i, { epoch, loss, validationLoss, accuracy = 0, validationAccuracy = 0 }] of rows.entries()) {
    const before = rows[i - 1]?.epoch ?? -Infinity;
    if (epoch <= before) throw unexpected(`history[${i}].epoch`, `an epoch after ${before}`, epoch);
    for (const [name, value] of Object.entries({ loss, validationLoss })) {
      if (Number.isFinite(value) && !f32.accepts(value)) throw unexpected(`history[${i}].${name}`, f32.expected, value);
    }
    for (const [name, value] of Object.entries({ accuracy, validationAccuracy })) {
      if (value < 0 || value > 1) throw unexpected(`history[${i}].${name}`, "a number from 0 to 1", value);
    }
  }
  return rows;
}

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
    const given = checkRows("rows", check("this", this, History.#rule).#rows, REQUIRED_COLUMNS);
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
