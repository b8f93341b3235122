// Shows the events of a training run: a table of the epochs, and below it a bar on a terminal, or else a line now and then.

const BAR = 24;
/** Milliseconds between lines where there is no terminal. */
const QUIET = 10_000;
const HEAD = "epoch  train loss  validation loss  validation accuracy  seconds";

export class Progress {
  #epochs;
  #began = performance.now();
  #lastLine = this.#began;
  #rows = 0;

  constructor(epochs) {
    this.#epochs = epochs;
  }

  /** Shows an event. */
  show(event) {
    if (event.type === "epoch") this.#row(event);
    else this.#now(event.type === "step" ? this.#step(event) : `validation  ${event.done}/${event.total}`, event);
  }

  /** Clears the bar away. */
  end() {
    if (process.stdout.isTTY) process.stdout.write("\r\x1b[K");
  }

  #step({ epoch, step, steps, loss, accuracy, imagesPerSecond }) {
    const done = ((epoch - 1) * steps + step) / (this.#epochs * steps);
    const left = (((performance.now() - this.#began) / 1000) * (1 - done)) / done;
    const bar = "█".repeat(Math.round(done * BAR)).padEnd(BAR, "░");
    const [minutes, seconds] = [Math.floor(left / 60), Math.floor(left % 60)];
    const time = `${minutes}:${String(seconds).padStart(2, "0")} left`;
    const speed = `${imagesPerSecond.toFixed(1)} images/s`;
    return `${bar}  step ${step}/${steps}  loss ${loss.toFixed(3)}  accuracy ${accuracy.toFixed(3)}  ${speed}  ${time}`;
  }

  #now(text, { epoch }) {
    const line = `epoch ${epoch}/${this.#epochs}  ${text}`;
    if (process.stdout.isTTY) {
      process.stdout.write(`\r${line.slice(0, process.stdout.columns - 1)}\x1b[K`);
    } else if (performance.now() - this.#lastLine > QUIET) {
      this.#lastLine = performance.now();
      console.log(line);
    }
  }

  #row({ epoch, loss, validationLoss, validationAccuracy, seconds }) {
    this.end();
    if (this.#rows++ === 0) console.log(HEAD);
    const cells = [String(epoch), loss.toFixed(4), validationLoss.toFixed(4), validationAccuracy.toFixed(4), seconds.toFixed(1)];
    const widths = HEAD.split(/ {2,}/).map((title) => title.length);
    console.log(cells.map((cell, i) => cell.padStart(widths[i])).join("  "));
  }
}
