import type { ServerResponse } from "node:http";

/** Bytes that a page may leave unread before it gets no more. */
const MOST_UNREAD = 2 ** 18;
/** Signs of life that it may then leave unanswered. */
const MOST_MISSED = 4;

/**
 * Server-sent events on their way to one page. Of a page that reads slowly nothing piles up: it gets all there is anew when it has caught up, and
 * is dropped if it does not.
 */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #anew: () => string;
  /** Signs of life since it fell behind, if it has. */
  #missed: number | undefined;

  /** `anew` tells all there is. */
  constructor(response: ServerResponse, anew: () => string) {
    this.#response = response;
    this.#anew = anew;
    response.write("retry: 2000\n\n");
  }

  /** Sends a message of one line. */
  send(message: string): void {
    if (this.#missed !== undefined) return;
    if (this.#response.writableLength <= MOST_UNREAD) return this.#write(`data: ${message}\n\n`);
    this.#missed = 0;
    this.#response.once("drain", () => {
      this.#missed = undefined;
      this.#write(`data: ${this.#anew()}\n\n`);
    });
  }

  /** Shows that there is somebody, and looks whether there is somebody else. */
  beat(): void {
    if (this.#missed === undefined) this.#write(": still there\n\n");
    else if (this.#missed++ === MOST_MISSED) this.#response.destroy();
  }

  /** Sends nothing more. */
  end(): void {
    this.#response.end();
  }

  #write(text: string): void {
    if (!this.#response.destroyed) this.#response.write(text);
  }
}
