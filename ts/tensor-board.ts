import { hostname } from "node:os";
import { join } from "node:path";
import { types } from "node:util";
import { addon, type NativeSummary } from "./binding.js";
import { translated } from "./errors.js";
import { checkEvent, type FitEvent } from "./events.js";
import { anyNumber } from "./history.js";
import { check, f32, filePath, integer, path, type Rule, string } from "./options.js";
import { append, makeFolder, writing } from "./written-file.js";

/** Files that this process has begun: no two have the same name. */
let begun = 0;

const stepRule = integer(0, Number.MAX_SAFE_INTEGER);
const pngRule: Rule<Uint8Array> = { expected: "a Uint8Array with a PNG", accepts: (value) => types.isUint8Array(value) };

/**
 * Writes what TensorBoard shows: a folder's event file, one for each of these. Every call's values are in the file when it returns.
 *
 * As a listener of {@link fit} it has curves by the number of updates: `step/…` and `epoch/…` with what events tell by these names, and
 * `validation/loss` and `validation/accuracy`. A run that goes on from a checkpoint goes on in the same folder: what an earlier one had told of
 * later updates is then not shown.
 *
 * @example
 * ```ts
 * const board = new TensorBoard("runs/first");
 * await fit(model, data, { epochs: 10, onEvent: board.onEvent });
 * board.text("notes", "ResNet-18, **no** augmentation", 0);
 * // tensorboard --logdir runs
 * ```
 */
export class TensorBoard {
  readonly #file: string;
  /** Steps of an epoch, which the first event tells. */
  #steps = 0;
  #resumed = false;

  /** @throws `ERR_IO` if there is no such folder and none can be made, or nothing can be written to it. */
  constructor(dir: string | URL) {
    const folder = filePath("dir", check("dir", dir, path));
    begun += 1;
    // TensorBoard reads them in the order of their names.
    const name = `events.out.tfevents.${now().toFixed(3)}.${String(begun).padStart(6, "0")}.${hostname()}.${process.pid}`;
    this.#file = join(folder, name);
    writing(folder, () => makeFolder(folder));
    this.#append(translated(() => addon.eventFileStart(now())));
  }

  /** Adds a point to a tag's curve, at a step that is an integer of at least 0. */
  scalar(tag: string, value: number, step: number): void {
    this.#values(step, [{ tag: check("tag", tag, string), scalar: check("value", value, f32) }]);
  }

  /** Adds a picture, the bytes of a PNG. */
  picture(tag: string, png: Uint8Array, step: number): void {
    this.#values(step, [{ tag: check("tag", tag, string), picture: check("png", png, pngRule) }]);
  }

  /** Adds a text in Markdown. */
  text(tag: string, markdown: string, step: number): void {
    this.#values(step, [{ tag: check("tag", tag, string), text: check("markdown", markdown, string) }]);
  }

  /** What {@link fit} calls with each event. */
  readonly onEvent = (event: FitEvent): void => {
    checkEvent(event);
    switch (event.type) {
      case "step": {
        const { type, epoch, step, loss, accuracy, lr, imagesPerSecond, waiting, gradientNorm } = event;
        return this.#scalars(type, epoch, step, { loss, accuracy, lr, imagesPerSecond, waiting, gradientNorm });
      }
      case "epochBegin":
        this.#steps = event.steps;
        return;
      case "evaluation": {
        const { epoch, step, validationLoss: loss, validationAccuracy: accuracy } = event;
        return this.#scalars("validation", epoch, step, { loss, accuracy });
      }
      case "epoch": {
        // What was measured at its end is told by the evaluation.
        const { type, epoch, loss, accuracy, lr, seconds, waiting } = event;
        return this.#scalars(type, epoch, this.#steps, { loss, accuracy, lr, seconds, waiting });
      }
      case "resume":
        [this.#steps, this.#resumed] = [event.steps, true];
        return;
      case "validation":
      case "checkpoint":
        return;
    }
  };

  #scalars(group: string, epoch: number, step: number, values: Readonly<Record<string, number | undefined>>): void {
    const update = (epoch - 1) * this.#steps + step;
    if (this.#resumed) this.#append(translated(() => addon.eventFileRestart(now(), update)));
    this.#resumed = false;
    const known = Object.entries(values).filter((entry): entry is [string, number] => entry[1] !== undefined);
    this.#values(update, known.map(([name, value]) => ({ tag: `${group}/${name}`, scalar: check(`event.${name}`, value, anyNumber) })));
  }

  #values(step: number, values: NativeSummary[]): void {
    const at = check("step", step, stepRule);
    this.#append(translated(() => addon.eventFileValues(now(), at, values)));
  }

  #append(record: Uint8Array): void {
    append(this.#file, record);
  }
}

function now(): number {
  return Date.now() / 1000;
}
