// A side of a comparison: a process of its own that answers a line of JSON with a line of JSON.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export class Peer {
  #child;
  #lines;
  #closed;
  #errors = "";

  /** Starts the program; `environment` adds to this process's. */
  constructor(name, command, args, environment = {}) {
    this.name = name;
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...environment } });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#child.stderr.on("data", (text) => (this.#errors += text));
    this.#closed = new Promise((resolve) => this.#child.once("close", resolve));
    // Its end shows where an answer is awaited.
    this.#child.on("error", (error) => (this.#errors += error.message));
    this.#child.stdin.on("error", () => {});
  }

  /** The next line that it writes. */
  async read() {
    const { value, done } = await this.#lines.next();
    if (!done) return JSON.parse(value);
    await this.#closed;
    throw Object.assign(new Error(`${this.name} ended:\n${this.#errors.trim()}`), { peer: this });
  }

  /** Its answer to a request. */
  ask(request) {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.read();
  }

  /** Lets it end. */
  async close() {
    this.#child.stdin.end();
    await this.#closed;
  }
}

/** What the error of an ended side comes down to. */
export function reasonOf(error) {
  const lines = error.message.split("\n").map((line) => line.trim());
  return lines.find((line) => /^[\w.]*(Error|Exception)\b.*:/.test(line)) ?? lines.at(-1);
}
