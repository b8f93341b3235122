import { addon, type CancelFlag } from "./binding.js";
import { translate } from "./errors.js";
import { abortSignal } from "./options.js";

/** What every long call takes. */
export interface SignalOptions {
  /** Stops the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
}

export const signalRules = { signal: abortSignal };

/** Makes a call of the addon that a signal can stop. */
export async function cancellable<T>(
  signal: AbortSignal | undefined,
  call: (flag: CancelFlag) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const flag = new addon.CancelFlag();
  const cancel = () => flag.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    return await call(flag);
  } catch (error) {
    const translated = translate(error);
    const stopped = (translated as { code?: unknown } | undefined)?.code === "ERR_ABORTED";
    throw stopped && signal?.aborted ? signal.reason : translated;
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
}
