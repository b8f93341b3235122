import { EXIT } from "./failure.js";

/** Milliseconds in which npm and its like pass on what the terminal has told their child already. */
const DOUBLED = process.env["npm_config_user_agent"] === undefined ? 0 : 500;

/** Ctrl-C: where somebody has asked for the signal the first one raises it, a later one leaves at once. */
export class Interrupt {
  readonly #controller = new AbortController();
  #asked = false;
  #pressed = Infinity;

  /** Listens; `onFirst` is called when the first Ctrl-C has raised the signal. */
  constructor(onFirst: () => void = () => {}) {
    process.on("SIGINT", () => {
      if (performance.now() > this.#pressed + DOUBLED || !this.raise()) process.exit(EXIT.interrupted);
      if (this.#pressed < Infinity) return;
      this.#pressed = performance.now();
      onFirst();
    });
  }

  /** The signal to stop, for work that has something to save. */
  get signal(): AbortSignal {
    this.#asked = true;
    return this.#controller.signal;
  }

  /** Raises the signal; false if nobody has asked for it. */
  raise(): boolean {
    if (this.#asked) this.#controller.abort();
    return this.#asked;
  }
}
