// What a script leaves behind is gone when it ends, however that comes about.

import { constants } from "node:os";

/** Calls a function, which may wait for nothing, when this process ends: by itself, by an error, or by a signal that asks it to. */
export function cleanUpAtExit(cleanUp) {
  process.once("exit", cleanUp);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(128 + constants.signals[signal]));
}
