import { inspect } from "node:util";
import { table } from "./table.js";

/** A row of the history. */
export interface EpochRow {
  /** Counts from 1. */
  readonly epoch: number;
  /** Mean loss of the training samples, each before the update that used it. */
  readonly loss: number;
  /** Accuracy of the training samples, likewise. */
  readonly accuracy: number;
  /** Mean loss of the validation samples after the epoch, if there is a validation set. */
  readonly validationLoss?: number;
  /** Accuracy of the validation samples after the epoch, likewise. */
  readonly validationAccuracy?: number;
  /** Learning rate of the epoch's last step. */
  readonly lr: number;
  /** Seconds that the epoch took, validation included. */
  readonly seconds: number;
}

/** What a training run achieved, epoch by epoch. Prints as a table. */
export class History {
  /** The epochs, in order. */
  readonly rows: EpochRow[] = [];

  /** The rows as a table. */
  toString(): string {
    const shown = (value: number | undefined) => value?.toFixed(4) ?? "–";
    const rows = this.rows.map((row) => [
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
    return this.toString();
  }
}
