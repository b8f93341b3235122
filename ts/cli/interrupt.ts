import { constants } from "node:os";

/** What asks for an end: Ctrl-C, `kill` and whoever stops a container, a terminal that is closed. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Milliseconds in which npm and its like pass on what the terminal has told their child already. */
const DOUBLED = process.env["npm_config_user_agent"] === undefined ? 0 : 500;

/** A wish to end: where somebody has asked for the abort signal the first one raises it, a later Ctrl-C leaves at once. */
export class Interrupt {
  readonly #controller = new AbortController();
  readonly #onFirst: (name: string) => void;
  #asked = false;
  #code: number | undefined;
  #pressed = Infinity;

  /** Listens; `onFirst` is called with its name when the first signal has raised the abort signal. */
  constructor(onFirst: (name: string) => void = () => {}) {
    this.#onFirst = onFirst;
    for (const signal of SIGNALS) process.on(signal, () => this.#wish(signal));
  }

  /** Does what a signal does that comes first, by default that of Ctrl-C, under another name; nothing if something has come. */
  press(name: string, signal: (typeof SIGNALS)[number] = "SIGINT"): void {
    if (this.#code === undefined) this.#wish(signal, name);
  }

  /** Takes it for a signal of this process where an error tells that another one, which shared its training, was stopped by one; whether it does. */
  heeds(error: unknown): boolean {
    const [, rank, told] = /^(rank \d+): AbortError: stopped by (SIG[A-Z]+)$/.exec((error as Error)?.message) ?? [];
    const signal = SIGNALS.find((signal) => signal === told);
    if (signal !== undefined) this.press(`${signal} to ${rank}`, signal);
    return signal !== undefined;
  }

  #wish(signal: (typeof SIGNALS)[number], name = signal === "SIGINT" ? "Ctrl-C" : signal): void {
    const code = 128 + constants.signals[signal];
    if (!this.#asked) process.exit(code);
    if (this.#code !== undefined) {
      // The others often come twice, from whoever ends a whole group and its members; whoever means it has SIGKILL.
      if (signal === "SIGINT" && performance.now() > this.#pressed + DOUBLED) process.exit(code);
      return;
    }
    this.#code = code;
    this.#pressed = performance.now();
    this.#controller.abort(new DOMException(`stopped by ${signal}`, "AbortError"));
    this.#onFirst(name);
  }

  /** The signal to stop, for work that has something to save. */
  get signal(): AbortSignal {
    this.#asked = true;
    return this.#controller.signal;
  }

  /** The exit code of who was interrupted, as shells have it. */
  get code(): number | undefined {
    return this.#code;
  }
}
