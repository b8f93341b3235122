import type { WriteStream } from "node:tty";
import { EXIT } from "./failure.js";
import { Interrupt } from "./interrupt.js";
import { StatusLine } from "./status.js";

/** What a command writes to: results on stdout, as text or as a line of JSON each, and what goes on at the moment on stderr. */
export class Screen {
  /** Whether a program reads. */
  readonly json: boolean;
  /** What goes on at the moment. */
  readonly status: StatusLine;
  /** Ctrl-C and its like. */
  readonly interrupt: Interrupt;
  /** Which one this is of several processes that a launcher has started. */
  rank: number | undefined;
  /** Whether something could not be written. */
  #isLossy = false;
  #isMute = false;

  constructor(json: boolean) {
    this.json = json;
    this.status = new StatusLine(process.stderr, json);
    this.interrupt = new Interrupt((name) => {
      this.status.note(`${name}: stopping after this step, then saving; Ctrl-C${name === "Ctrl-C" ? " again" : ""} leaves at once.`);
    });
    // The work goes on: what it saves matters more than what it says.
    process.stdout.on("error", ({ code, message }: NodeJS.ErrnoException) => {
      // The reader has gone, as `head` does: no failure, and nothing to say.
      if (code === "EPIPE" || this.#isLossy) return;
      this.#isLossy = true;
      this.status.clear();
      process.stderr.write(`${painted(process.stderr, 31, "error:")} stdout: expected to write to it, got ${message}\n`);
    });
    process.stderr.on("error", () => {});
    process.on("exit", (code) => {
      this.status.clear();
      if (this.#isLossy && code === EXIT.success) process.exitCode = EXIT.failure;
    });
  }

  /** Writes nothing from now on but errors: another process does. */
  mute(): void {
    this.#isMute = true;
    this.status.mute();
  }

  /** Writes why this process ends without success. */
  fail(code: string, message: string): void {
    this.status.clear();
    if (this.json) process.stdout.write(`${JSON.stringify({ error: { code, message, rank: this.rank } })}\n`);
    else process.stderr.write(`${painted(process.stderr, 31, "error:")} ${this.rank === undefined ? message : named(this.rank, message)}\n`);
  }

  /** Writes a text for a person. */
  print(text: string): void {
    if (this.json || this.#isMute) return;
    this.status.clear();
    process.stdout.write(`${text}\n`);
  }

  /** Writes a line of JSON for a program. */
  record(value: object): void {
    if (!this.json || this.#isMute) return;
    this.status.clear();
    process.stdout.write(`${JSON.stringify(value)}\n`);
  }
}

/** A message of one of several processes, which may have been ended by another. */
function named(rank: number, message: string): string {
  return `rank ${rank}: ${/^rank \d+: /.test(message) ? "ended by " : ""}${message}`;
}

/** A text in one of the terminal's styles (ECMA-48's numbers), where there are colours and nobody has asked for none. */
export function painted(stream: WriteStream, style: number, text: string): string {
  return stream.isTTY && stream.hasColors() ? `\x1b[${style}m${text}\x1b[0m` : text;
}
