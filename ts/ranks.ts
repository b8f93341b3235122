/** The processes that were started together, as the environment of one of them tells. */
export interface Ranks {
  /** Which one it is, from 0. */
  readonly rank: number;
  /** How many there are, at least 2. */
  readonly size: number;
  /** The variable that told. */
  readonly source: string;
}

/** Where launchers leave rank and size: torchrun and Kubeflow; Open MPI; MPICH, Intel MPI and Slurm's PMI; srun. */
const SOURCES = [
  ["RANK", "WORLD_SIZE"],
  ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
  ["PMI_RANK", "PMI_SIZE"],
  ["PMIX_RANK", "PMIX_SIZE"],
  // Those of a step alone: in a batch script, outside of srun, the others tell of tasks that nobody has started.
  ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS"],
] as const;

/**
 * The processes that share this one's runs with `distributed`, as the environment tells that `mpirun`, `srun`, `torchrun` or another launcher has left, for programs that
 * do something in one of them alone; `undefined` in a process that was started by itself.
 */
export function ranks(): Ranks | undefined {
  return ranksOf(process.env);
}

/** Where they leave which of its machine's processes one is, in the order of the sources above: srun may have started launchers of the others. */
const PLACES = ["LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"] as const;

/** Which of those on its machine a process is that was started with others, from 0, as far as that is told. */
export function placeOf(env: Readonly<Record<string, string | undefined>>): number {
  return Number(PLACES.map((name) => env[name]).find((text) => text !== undefined && /^\d{1,9}$/.test(text)) ?? 0);
}

/** What the first of the sources tells that there is; `undefined` for a process alone. */
export function ranksOf(env: Readonly<Record<string, string | undefined>>): Ranks | undefined {
  for (const [source, sizes] of SOURCES) {
    const [rank, size] = [env[source], env[sizes]].map((text) => (text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined));
    if (rank !== undefined && size !== undefined && rank < size) return size > 1 ? { rank, size, source } : undefined;
  }
  return undefined;
}
