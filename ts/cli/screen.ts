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
  /** Ctrl-C, and whatever else says that nobody waits any more. */
  readonly interrupt: Interrupt;

  constructor(json: boolean) {
    this.json = json;
    this.status = new StatusLine(process.stderr, json);
    const hint = "Stopping after this step, then saving; Ctrl-C again leaves at once.";
    this.interrupt = new Interrupt(() => this.status.note(hint));
    process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => {
      // The reader has gone, as `head` does: no failure, and nothing to say.
      if (code === "EPIPE" && this.interrupt.raise()) return;
      process.exit(code === "EPIPE" ? EXIT.success : EXIT.failure);
    });
    process.stderr.on("error", () => {});
    process.on("exit", () => this.status.clear());
  }

  /** Writes a text for a person. */
  print(text: string): void {
    if (this.json) return;
    this.status.clear();
    process.stdout.write(`${text}\n`);
  }

  /** Writes a line of JSON for a program. */
  record(value: object): void {
    if (!this.json) return;
    this.status.clear();
    process.stdout.write(`${JSON.stringify(value)}\n`);
  }
}

/** A text in one of the terminal's styles (ECMA-48's numbers), where there are colours and nobody has asked for none. */
export function painted(stream: WriteStream, style: number, text: string): string {
  return stream.isTTY && stream.hasColors() ? `\x1b[${style}m${text}\x1b[0m` : text;
}
