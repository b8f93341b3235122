import { addon } from "./binding.js";
import { ResNetError } from "./errors.js";
import { boolean, checkOptions, count, either, number, object, oneOf, type Rules } from "./options.js";
import { agreedRanks, agreedRendezvous, isDescriptorLost, type Ranks, type Rendezvous } from "./ranks.js";

/** Settings of {@link ShardOptions.distributed}. */
export interface DistributedSettings {
  /**
   * Seconds that each exchange waits for all processes before the run ends in those that are there, default 300. What holds the run in one process,
   * an awaited callback, a pause or a checkpoint being written, holds all of them, and so for as long at most.
   */
  timeout?: number;
}

/** Options of how batches are cut, and who computes them. */
export interface ShardOptions {
  /**
   * Whether processes that were started together, by `mpirun`, `srun` or `torchrun`, share this run; by default, and where the environment tells of no others,
   * this process is alone. Each of them calls `fit` with the same model, data and options, which is looked at before the first step, reads its part
   * of each batch, and ends with the same weights and history. Rank 0 alone reads and writes checkpoints, calls what is given as `onEvent` and has a
   * `dashboard`; other callbacks are called in each process. An error or abort in one of them is one in all. Needs an addon that was built
   * for the MPI that is installed, `npm run build:mpi`; see the guide "Several machines".
   */
  distributed?: "auto" | DistributedSettings;
  /**
   * Shards that each batch is cut into, by default as many as there are processes. What is summed over a batch, gradients, losses and the
   * statistics of batch norms, is summed for each shard and then over shards in one fixed order, so that results depend on this number alone, not
   * on how many processes compute them: one with 4 shards has the bits of four. Images are the same as without shards, and dropout drops the same;
   * `mixup` and `cutmix` mix within a shard. On GPUs of one kind this holds with
   * `deterministic`; processes exchange gradients by NCCL there, each with a GPU of its own.
   */
  shards?: number;
  /**
   * Whether batch norms have the statistics of the whole batch, as PyTorch's `SyncBatchNorm`, default true; with `false` each shard has its own,
   * and the running statistics take in their mean. Without `shards` nothing changes.
   */
  syncBatchNorm?: boolean;
}

const settingsRules: Rules<DistributedSettings> = { timeout: number(1, 86_400) };
export const shardRules: Rules<ShardOptions> = {
  distributed: either(oneOf("auto"), object) as Rules<ShardOptions>["distributed"],
  shards: count,
  syncBatchNorm: boolean,
};

/** The processes that share a run, with how long they wait for each other. */
export interface GivenRanks extends Ranks {
  timeout: number;
  rendezvous?: Rendezvous;
}

/** What the environment tells, if it is asked for. `ERR_DISTRIBUTED` where it contradicts itself, or this process has lost what MPICH talks to it by. */
export function givenRanks(distributed: ShardOptions["distributed"]): GivenRanks | undefined {
  if (distributed === undefined) return undefined;
  const { timeout = 300 } = checkOptions(distributed === "auto" ? {} : distributed, settingsRules, "distributed");
  const ranks = agreedRanks(process.env);
  if (ranks === undefined) return undefined;
  checkDescriptor(process.env);
  const rendezvous = addon.mpiLibrary()?.startsWith("MPICH") ? agreedRendezvous(process.env) : undefined;
  finishAtExit();
  return { ...ranks, timeout, ...(rendezvous && { rendezvous }) };
}

/** An error as other processes are told of it: with its code, or else its name. */
export function toldOf(reason: unknown): string {
  try {
    const { name, code, message } = reason as Partial<ResNetError>;
    return reason instanceof Error || reason instanceof DOMException ? `${name === "ResNetError" ? code : name}: ${message}` : String(reason);
  } catch {
    return "an error that cannot be read";
  }
}

/**
 * Tells the processes that would share a run with this one of an error that ends it here before that, as `fit` does of its own: they end with it as soon as
 * they come to `fit`, instead of waiting for `timeout` seconds. For programs that fail, as when they read their data, where others may not. Does not wait
 * for them; a process that ends then does, as long as for the others in an exchange, at most 30 s. Nothing happens in a process alone, or once the run was shared.
 *
 * ```ts
 * const data = await imageFolder("pictures/").catch((error) => { failRanks(error); throw error; });
 * await fit(model, data, { distributed: "auto" });
 * ```
 *
 * @param distributed What `fit` would be given.
 */
export function failRanks(error: unknown, distributed: ShardOptions["distributed"] = "auto"): void {
  const given = quietly(() => givenRanks(distributed));
  if (given === undefined) return;
  const { code, message } = error instanceof ResNetError ? error : { code: "ERR_ABORTED", message: toldOf(error) };
  addon.failRanks(given, code, message);
}

/** What cannot be had is none: who asks has an error of its own. */
function quietly<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}

/** MPICH ends a process that it cannot talk to. npm and npx do not pass on the descriptor for that, and the system may let nobody else have it from them. */
export function checkDescriptor(env: Readonly<Record<string, string | undefined>>): void {
  if (!isDescriptorLost(env)) return;
  const fix = "start the program itself instead of npm or npx, as mpirun -n 2 node_modules/.bin/resnet-native train pictures/ --distributed";
  throw new ResNetError("ERR_DISTRIBUTED", `distributed: expected the descriptor of MPICH's mpirun, PMI_FD ${env["PMI_FD"]}, to be open, got a closed one: ${fix}`);
}

/** What the addon is told of shards. */
export function describeShards({ shards, syncBatchNorm }: ShardOptions): object {
  return { shards, sync_batch_norm: syncBatchNorm };
}

let finishes = false;

/** Milliseconds that a process which has failed stays for the others to say why they end: launchers end all as soon as one has. */
const LAST_WORDS = 1000;

/** Launchers take a process that ends without the end of MPI for one that has crashed. */
function finishAtExit(): void {
  if (finishes) return;
  finishes = true;
  process.once("exit", (code) => {
    // Nobody else hears them any more: they end the process while that waits for others.
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.removeAllListeners(signal);
    const isDone = addon.finishRanks(code === 0);
    if (!isDone || code !== 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LAST_WORDS);
  });
}
