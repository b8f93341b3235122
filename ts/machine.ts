import { addon, origin } from "./binding.js";
import { translated } from "./errors.js";

/** What computes; see {@link machine}. */
export interface Machine {
  /** Where models compute. */
  readonly backend: "cpu" | "cuda";
  /** The file of compiled code that was loaded. */
  readonly addon: string;
  /** Why that one. */
  readonly why: string;
  /** Instruction set of the kernels: the widest of the machine, or the one that `RESNET_NATIVE_ISA` names. */
  readonly instructionSet: string;
  /** The instruction sets that the machine has kernels for, narrowest first. */
  readonly instructionSets: readonly string[];
  /** Threads of a model whose option `threads` is not given. */
  readonly threads: number;
}

/**
 * What computes on this machine, for reports of speed and of defects.
 *
 * @example
 * ```ts
 * const { instructionSet, threads } = machine(); // "avx2", 7
 * ```
 * @throws `ERR_INVALID_ARGUMENT` if `RESNET_NATIVE_ISA` names an instruction set that the machine has not.
 */
export function machine(): Machine {
  const { backend, file, why } = origin;
  return { backend, addon: file, why, ...translated(() => addon.machine()) };
}
