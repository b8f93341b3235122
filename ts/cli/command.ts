import type { Options, Values } from "./option.js";
import type { Screen } from "./screen.js";

/** A command: all that its help, the checks of its words and its work are made from. */
export interface Command<P extends Options = Options, O extends Options = Options> {
  /** What it does, on one line. */
  readonly summary: string;
  /** What it takes without a name, in order. */
  readonly operands: P;
  /** What it takes by name. */
  readonly options: O;
  /** Lines to type after the program's name, with what they do. */
  readonly examples: readonly (readonly [line: string, does: string])[];
  /** Does it; the exit code, where it is not 0. */
  run(values: Values<NoInfer<P>> & Values<NoInfer<O>>, screen: Screen): Promise<number | void>;
}

/** Checks a command's types. */
export function command<P extends Options, O extends Options>(parts: Command<P, O>): Command {
  return parts as unknown as Command;
}
