import { counted } from "./counted.js";
import { oneLine } from "./option.js";
import type { EpochRow, FitEvent, ResumeEvent, StepEvent } from "../index.js";
import type { StatusLine } from "./status.js";

/** Characters of the bar, and the fewest of it. */
const [BAR, SHORTEST] = [24, 8];
const HEAD = "epoch  train loss  validation loss  validation accuracy  seconds";
const WIDTHS = HEAD.split(/ {2,}/).map((title) => title.length);

/** Shows the events of a training run: a table of the epochs, and what goes on as a status. */
export class Progress {
  readonly #epochs: number;
  readonly #status: StatusLine;
  readonly #print: (line: string) => void;
  readonly #began = performance.now();
  #rows = 0;
  /** The share of the run that was done when it began. */
  #before: number | undefined;

  constructor(epochs: number, status: StatusLine, print: (line: string) => void) {
    this.#epochs = epochs;
    this.#status = status;
    this.#print = print;
  }

  /** Shows an event. */
  show(event: FitEvent): void {
    if (event.type === "epoch") return this.#row(event);
    if (event.type === "resume") return this.#resume(event);
    if (event.type !== "step" && event.type !== "validation") return;
    const epoch = `epoch ${event.epoch}/${this.#epochs}`;
    const now = event.type === "step" ? this.#step(event, epoch.length + 2) : `validation  ${event.done}/${event.total}`;
    this.#status.show(`${epoch}  ${now}`);
  }

  #resume({ path, epoch, skipped }: ResumeEvent): void {
    for (const { path, reason } of skipped) {
      const what = path.endsWith("best.safetensors") ? "Set aside a damaged best model" : "Passed over a damaged checkpoint";
      this.#print(`${what}, which is ${oneLine(path)} now: ${oneLine(reason)}`);
    }
    this.#print(`Goes on from ${oneLine(path)}, ${counted(epoch - 1, "epoch")} done`);
  }

  #step({ epoch, step, steps, loss, accuracy, imagesPerSecond, waiting }: StepEvent, indent: number): string {
    const done = ((epoch - 1) * steps + step) / (this.#epochs * steps);
    // What a run that goes on has behind it took none of this time.
    this.#before ??= done - 1 / (this.#epochs * steps);
    const left = (((performance.now() - this.#began) / 1000) * (1 - done)) / (done - this.#before);
    const time = `${Math.floor(left / 60)}:${String(Math.floor(left % 60)).padStart(2, "0")} left`;
    const [before, after] = [`step ${step}/${steps}  loss ${loss.toFixed(3)}`, `${imagesPerSecond.toFixed(1)} images/s  ${time}`];
    // On a narrow terminal the accuracy is left to the table, and the bar is shorter.
    const idle = waiting < 0.01 ? "" : `  ${Math.round(100 * waiting)} % waiting for data`;
    const facts = [`${before}  accuracy ${accuracy.toFixed(3)}  ${after}${idle}`, `${before}  ${after}`];
    const room = facts.map((text) => this.#status.width - indent - text.length - 2);
    const fitting = room[0]! < BAR ? 1 : 0;
    const length = Math.max(Math.min(room[fitting]!, BAR), SHORTEST);
    return `${"█".repeat(Math.round(done * length)).padEnd(length, "░")}  ${facts[fitting]}`;
  }

  #row({ epoch, loss, validationLoss, validationAccuracy, seconds }: EpochRow): void {
    this.#status.clear();
    if (this.#rows++ === 0) this.#print(HEAD);
    const shown = (value: number | undefined) => value?.toFixed(4) ?? "–";
    const cells = [String(epoch), shown(loss), shown(validationLoss), shown(validationAccuracy), seconds.toFixed(1)];
    this.#print(cells.map((cell, i) => cell.padStart(WIDTHS[i]!)).join("  "));
  }
}
