import type { NativeTrainer } from "./binding.js";
import type { Mixed } from "./data.js";
import { translated } from "./errors.js";
import { type Model, nativeOf } from "./models.js";
import { checkRows } from "./labels.js";
import { isForSets } from "./loss.js";
import { check, checkOptions, made, number, type Rule } from "./options.js";
import { cancellable, type SignalOptions, signalRules } from "./signal.js";
import { checkLabels, checkTensor, type Numbers, type Tensor, toMap } from "./tensor.js";
import { describeUpdates, type UpdateOptions, updateRules } from "./updates.js";

/** Loss and accuracy over samples. */
export interface Metrics {
  /** Mean cross-entropy, in nats; of any number of labels for each sample mean binary cross-entropy. Of a step, the loss that it makes small. */
  readonly loss: number;
  /**
   * Share of samples whose largest logit is at the label; what of NaN and infinity is said at {@link ErrorCode}. Of any number of labels for
   * each sample, the share of samples and classes of which the decision (a probability of at least a half) is right.
   */
  readonly accuracy: number;
}

/** Options of {@link Trainer.step}. */
export interface StepOptions extends SignalOptions {
  /** What was mixed into the images, as a batch has it: see {@link mixup}. */
  mixed?: Mixed;
}

const mixedRule: Rule<Mixed> = {
  expected: "{ labels, share } as a batch has it, the share from 0 to 1",
  accepts: (value) => number(0, 1).accepts((value as Mixed).share) && (value as Mixed).labels !== undefined,
};

/**
 * Makes single updates, for training loops of one's own.
 *
 * @example
 * ```ts
 * const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.01 }) });
 * for await (const { images, labels } of data.train.batches({ shuffle: true })) {
 *   const { loss } = await trainer.step(images, labels);
 * }
 * ```
 */
export class Trainer {
  readonly #native: NativeTrainer;
  readonly #takesSets: boolean;

  /** @throws `ERR_INVALID_ARGUMENT` for options that cannot be. */
  constructor(model: Model, options?: UpdateOptions) {
    const given = checkOptions(options, updateRules);
    const config = describeUpdates(given);
    this.#takesSets = isForSets(given.loss);
    const native = nativeOf(model);
    this.#native = translated(() => native.trainer(JSON.stringify(config)));
  }

  /**
   * The learning rate of the steps that are asked for from now on, before the factors of groups: at first the optimiser's. A schedule of one's
   * own sets it before each step.
   */
  get lr(): number {
    return Trainer.#nativeOf(this).lr;
  }

  /** @throws `ERR_INVALID_ARGUMENT` for what is no number of at least 0. */
  set lr(lr: number) {
    Trainer.#nativeOf(this).lr = check("lr", lr, number(0));
  }

  /**
   * One update on images (N, C, H, W) with a label each, or with `loss: binaryCrossEntropy()` a matrix (N, classes) of 0 and 1; resolves to loss and accuracy before it. With `accumulate: n` only every n-th
   * call makes one, on the batches of all n; the others change gradients and running statistics alone.
   *
   * Rejects with `ERR_SHAPE` or `ERR_LABEL` if the batch does not fit, `ERR_BUSY` while another call writes to the
   * model, `ERR_NON_FINITE_LOSS` if the loss is NaN or infinite; in each case the weights stay as they were. Rejects with
   * `ERR_NON_FINITE_WEIGHTS` if the update makes some NaN or infinite: they are lost, and what the optimiser has kept is
   * forgotten. See {@link ErrorCode}.
   */
  async step(images: Tensor, labels: Numbers, options?: StepOptions): Promise<Metrics> {
    const { signal, mixed } = checkOptions(options, { ...signalRules, mixed: mixedRule });
    const native = Trainer.#nativeOf(this);
    const { data, shape } = checkTensor("images", images);
    const read = (name: string, given: Numbers) => (this.#takesSets ? checkRows(name, given, shape[0]!) : checkLabels(name, given));
    const wanted = read("labels", labels);
    const others = mixed && { labels: read("mixed.labels", mixed.labels), share: mixed.share };
    return cancellable(signal, (flag) => native.step(data, shape, wanted, others, flag));
  }

  /**
   * The last step's gradients by state-dict name, in order; empty before the first step. Parameters that a group freezes have none, and are
   * not among them.
   */
  async gradients(): Promise<Map<string, Tensor>> {
    const native = Trainer.#nativeOf(this);
    return toMap(await cancellable(undefined, () => native.gradients()));
  }

  static #nativeOf(trainer: Trainer): NativeTrainer {
    return check("this", trainer, made<Trainer>("a trainer", (value) => #native in value)).#native;
  }
}
