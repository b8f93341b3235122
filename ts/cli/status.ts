import type { WriteStream } from "node:tty";

/** Milliseconds between two states on a terminal, and between two lines elsewhere. */
const [FRAME, QUIET] = [50, 10_000];

/** What goes on at the moment: one line that is written over on a terminal, elsewhere a line now and then. */
export class StatusLine {
  readonly #stream: WriteStream;
  readonly #terminal: boolean;
  readonly #silent: boolean;
  #last: number;
  #shown = false;
  #isMute = false;

  /** On a stream; `silent` writes nothing where there is no terminal. */
  constructor(stream: WriteStream, silent = false) {
    this.#stream = stream;
    this.#silent = silent;
    this.#terminal = stream.isTTY && process.env["TERM"] !== "dumb";
    this.#last = this.#terminal ? -Infinity : performance.now();
  }

  /** Characters that a state may have. */
  get width(): number {
    // A pseudo-terminal may have no columns.
    return this.#terminal ? (this.#stream.columns || 80) - 1 : Infinity;
  }

  /** Writes nothing from now on. */
  mute(): void {
    this.clear();
    this.#isMute = true;
  }

  /** Shows a state. */
  show(text: string): void {
    if (this.#isMute) return;
    const now = performance.now();
    if (now - this.#last < (this.#terminal ? FRAME : QUIET)) return;
    this.#last = now;
    this.#shown = this.#terminal;
    if (this.#terminal) this.#stream.write(`\r${text.slice(0, this.width)}\x1b[K`);
    else if (!this.#silent) this.#stream.write(`${text}\n`);
  }

  /** Writes a line that stays. */
  note(text: string): void {
    this.clear();
    if (this.#isMute) return;
    if (this.#terminal || !this.#silent) this.#stream.write(`${text}\n`);
  }

  /** Clears the state away. */
  clear(): void {
    if (!this.#shown) return;
    this.#stream.write("\r\x1b[K");
    this.#last = -Infinity;
    this.#shown = false;
  }
}
