import { types } from "node:util";
import { addon, type CancelFlag } from "./binding.js";
import { disposed, ResNetError, translate } from "./errors.js";
import { abortSignal } from "./options.js";

/** What every long call takes. */
export interface SignalOptions {
  /** Stops the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
}

export const signalRules = { signal: abortSignal };

/** What a signal stops. It is one listener for all of it, since Node warns of more than ten. */
class Stops extends Set<() => void> {
  handleEvent(): void {
    for (const stop of this) stop();
  }
}

const stopsOf = new WeakMap<AbortSignal, Stops>();

/** Calls back when the signal is raised, until what is returned is called. */
export function onAbort(signal: AbortSignal | undefined, stop: () => void): () => void {
  if (signal === undefined) return () => {};
  const stops = stopsOf.get(signal) ?? new Stops();
  stopsOf.set(signal, stops.add(stop));
  // A listener that is there already is not added again.
  signal.addEventListener("abort", stops);
  return () => {
    stops.delete(stop);
    if (stops.size === 0) signal.removeEventListener("abort", stops);
  };
}

/**
 * The items of an iterable until a signal is raised, which also ends the wait for one. They come in boxes: whoever gets an item by itself
 * from a generator has had its `then` looked for, which a revoked proxy does not bear.
 */
export async function* untilAborted<T>(
  signal: AbortSignal | undefined,
  items: Iterable<T> | AsyncIterable<T>,
): AsyncGenerator<{ readonly item: T }, void, void> {
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const { promise: aborted, reject } = withReject();
  const ignore = onAbort(signal, () => reject(signal!.reason));
  let ended = false;
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), aborted]);
      ended = next.done === true;
      if (next.done) return;
      yield { item: types.isPromise(next.value) ? await Promise.race([next.value, aborted]) : next.value };
    }
  } finally {
    ignore();
    // Not waited for: it may be what hangs.
    if (!ended) void (async () => iterator.return?.())().catch(() => {});
  }
}

/** A promise that may be rejected, and need not be listened to. */
function withReject(): { promise: Promise<never>; reject: (reason: unknown) => void } {
  let reject!: (reason: unknown) => void;
  const promise = new Promise<never>((_, rejecting) => (reject = rejecting));
  promise.catch(() => {});
  return { promise, reject };
}

/** Makes a call of the addon that a signal can stop. */
export async function cancellable<T>(
  signal: AbortSignal | undefined,
  call: (flag: CancelFlag) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const flag = new addon.CancelFlag();
  const ignore = onAbort(signal, () => flag.cancel());
  try {
    return await call(flag);
  } catch (error) {
    const translated = translate(error);
    if (!(translated instanceof ResNetError && translated.code === "ERR_ABORTED")) throw translated;
    // Nothing but the signal and dispose() stops a call.
    throw signal?.aborted ? signal.reason : disposed();
  } finally {
    ignore();
  }
}
