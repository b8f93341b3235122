import { addon, origin } from "./binding.js";
import { translated } from "./errors.js";
import { boolean, integer, oneOf, type Rule, type Rules } from "./options.js";
import { placeOf, ranksOf } from "./ranks.js";

/**
 * Where a model computes: `"cuda"` is the first GPU, `"auto"` the first GPU that can be used, else the CPU. In a process that a launcher has started with others, both
 * take that of the GPUs that can be used whose place among them is the process's number on its machine, from the first one again where there are fewer.
 */
export type Device = "auto" | "cpu" | "cuda" | `cuda:${number}`;

/** How a model computes. */
export interface ComputeOptions {
  /** Where, default `"auto"`. GPUs need the package `resnet-native-cuda13`; {@link deviceInfo} tells what was found. */
  device?: Device;
  /** Threads of the CPU; by default all cores, less one for the event loop where there are more than two. */
  threads?: number;
  /**
   * Whether the CPU's convolutions use direct kernels only, default false: Winograd's are two to four times as fast, and round to
   * some 5e-6 of a map's values instead of some 1e-7. Direct kernels do not round to bf16 either, whatever `precision` says.
   */
  strict?: boolean;
  /**
   * How convolutions round, default `"tf32"`: f32, which a GPU multiplies with 10 bits of fraction, as PyTorch's default; `"fp32"`: f32
   * throughout; `"bf16"`: on a GPU, activations of 7 bits, while weights, sums and statistics stay f32. On a CPU the first two are the same,
   * and with `"bf16"` all numbers in memory stay f32, but convolutions round what they multiply to 7 bits, and sum up in f32, for those shapes
   * for which the processor is faster at that: `deviceInfo().cpu.bf16` tells how. Where it is not faster, they compute in f32.
   */
  precision?: "tf32" | "fp32" | "bf16";
  /** Whether a GPU gives the same bits each time, by slower convolutions; default false. The CPU always does. */
  deterministic?: boolean;
}

/** What a model computes with by default, and what else there is; see {@link deviceInfo}. */
export interface DeviceInfo {
  /** What the device `"auto"` is: `"cpu"`, or `"cuda:0"`. */
  readonly device: string;
  /** Why that one. */
  readonly why: string;
  /** The compiled code that was loaded. */
  readonly addon: {
    /** Its path. */
    readonly file: string;
    /** Why that one. */
    readonly why: string;
    /** The MPI that it was built for, with its version, such as MPICH 4.0.2, if it was for one. */
    readonly mpi?: string;
  };
  /** The CPU. */
  readonly cpu: {
    /** Instruction set of the kernels: the widest of the machine, or the one that `RESNET_NATIVE_ISA` names. */
    readonly instructionSet: string;
    /** The instruction sets that the machine has kernels for, narrowest first. */
    readonly instructionSets: readonly string[];
    /**
     * How convolutions multiply with the precision `"bf16"`: by AMX's, AVX512_BF16's or NEON's instructions, or in f32, where the processor has none,
     * makes fewer products of bf16 than of f32 (Intel's without AMX), or `RESNET_NATIVE_ISA` names other kernels. AMX is asked of
     * Linux alone. Its form has been tried with a model of its instruction alone, NEON's in an emulator.
     */
    readonly bf16: "amx" | "avx512-bf16" | "neon-bf16" | "f32";
    /**
     * How convolutions of a {@link quantize | quantised} model multiply bytes: by AMX's, AVX512_VNNI's, AVX-VNNI's or NEON's instructions, or in f32,
     * where the processor has none of them, or `RESNET_NATIVE_ISA` names other kernels. AMX's form has been tried with a model alone, too.
     */
    readonly int8: "amx" | "avx512-vnni" | "avx-vnni" | "neon-dot" | "f32";
    /** Threads of a model whose option `threads` is not given. */
    readonly threads: number;
  };
  /** What there is for NVIDIA GPUs, as far as it was found. */
  readonly cuda: {
    /** The driver's version, where the system tells it. */
    readonly driver?: string;
    /** The newest version of CUDA that the driver supports. */
    readonly version?: string;
    /** cuDNN's version. */
    readonly cudnn?: string;
    /** The GPUs, by number. */
    readonly gpus: readonly Gpu[];
    /** Why none of them can be used, if that is so, and what helps. */
    readonly problem?: string;
    /**
     * Why a GPU does a part of a model's steps launch by launch, hundreds of them, which takes longer than as one captured graph: why it
     * last refused that. Absent where no model of this process has such a part, because a later try succeeded or the model is gone.
     */
    readonly refusedCapture?: string;
  };
}

/** A GPU as its driver describes it. */
export interface Gpu {
  /** Such as NVIDIA H100 80GB HBM3. */
  readonly name: string;
  /** Such as 9.0; 8.0 is the least. */
  readonly computeCapability: string;
  /** Bytes in all. */
  readonly memory: number;
  /** Whether models can compute on it: there are kernels for it, and driver and libraries are as they should be. */
  readonly usable: boolean;
}

export const deviceRule: Rule<Device> = {
  expected: '"auto", "cpu", "cuda" or "cuda:" and the number of a GPU',
  accepts: (value) => typeof value === "string" && /^(auto|cpu|cuda(:\d{1,3})?)$/.test(value),
};

export const computeRules: Rules<ComputeOptions> = {
  device: deviceRule,
  threads: integer(1, 1024),
  strict: boolean,
  precision: oneOf("tf32", "fp32", "bf16"),
  deterministic: boolean,
};

/** The same options with the GPU of a process that was started with others, by what the environment and {@link deviceInfo} tell. */
export function placed<T extends ComputeOptions>(options: T, env: Readonly<Record<string, string | undefined>> = process.env, tells: () => Pick<DeviceInfo, "cuda"> = deviceInfo): T {
  const { device = "auto" } = options;
  if (ranksOf(env) === undefined || (device !== "auto" && device !== "cuda")) return options;
  const usable = tells().cuda.gpus.flatMap((gpu, number) => (gpu.usable ? [number] : []));
  // Where there is none, what becomes of it is the addon's to say.
  return usable.length === 0 ? options : { ...options, device: `cuda:${usable[placeOf(env) % usable.length]!}` };
}

/**
 * What models compute with on this machine, and why, for reports of speed and of defects. Looking for GPUs takes up to a second the
 * first time.
 *
 * @example
 * ```ts
 * const { device, why, cpu } = deviceInfo(); // "cpu", "there is no NVIDIA driver …", { instructionSet: "avx2", threads: 7, … }
 * ```
 * @throws `ERR_INVALID_ARGUMENT` if `RESNET_NATIVE_ISA` names an instruction set that the machine has not.
 */
export function deviceInfo(): DeviceInfo {
  const { device: chosen, why, instructionSet, instructionSets, bf16, int8, threads, ...cuda } = translated(() => addon.deviceInfo());
  const { file, why: whyAddon } = origin;
  const mpi = addon.mpiLibrary() ?? undefined;
  return { device: chosen, why, addon: { file, why: whyAddon, ...(mpi !== undefined && { mpi }) }, cpu: { instructionSet, instructionSets, bf16: bf16 as DeviceInfo["cpu"]["bf16"], int8: int8 as DeviceInfo["cpu"]["int8"], threads }, cuda };
}
