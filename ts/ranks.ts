import { fstatSync } from "node:fs";
import { ResNetError } from "./errors.js";

/** The processes that were started together, as the environment of one of them tells. */
export interface Ranks {
  /** Which one it is, from 0. */
  readonly rank: number;
  /** How many there are, at least 2. */
  readonly size: number;
  /** The variable that told. */
  readonly source: string;
}

/**
 * Where launchers leave rank and size: torchrun and Kubeflow; Open MPI; MPICH, Intel MPI and Slurm's PMI; Slurm's PMIx; srun. The first pair that is there
 * counts, since launchers of the earlier ones are started within steps of the later ones, which leave theirs too.
 */
const SOURCES = [
  ["RANK", "WORLD_SIZE"],
  ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
  ["PMI_RANK", "PMI_SIZE"],
  ["PMIX_RANK", "PMIX_SIZE"],
  ["PMIX_RANK", "SLURM_STEP_NUM_TASKS"],
  // Those of a step alone: in a batch script, outside of srun, the others tell of tasks that nobody has started.
  ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS"],
] as const;

/**
 * The processes that share this one's runs with `distributed`, as the environment tells that `mpirun`, `srun`, `torchrun` or another launcher has left, for programs that
 * do something in one of them alone; `undefined` in a process that was started by itself. `RANK` and `WORLD_SIZE` come first, then the variables of MPI's launchers, then
 * those of a step of srun.
 *
 * @throws `ERR_DISTRIBUTED` if `RANK` and `WORLD_SIZE` tell no place, as where one of them is missing, or tell otherwise than what MPI would start by, or, but for
 * torchrun within a step of srun, than the step.
 */
export function ranks(): Ranks | undefined {
  return agreedRanks(process.env);
}

/** Where they leave which of its machine's processes one is, in the order of the sources above: srun may have started launchers of the others. */
const PLACES = ["LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"] as const;

/** Which of those on its machine a process is that was started with others, from 0, as far as that is told. */
export function placeOf(env: Readonly<Record<string, string | undefined>>): number {
  return Number(PLACES.map((name) => env[name]).find((text) => text !== undefined && /^\d{1,9}$/.test(text)) ?? 0);
}

/** What the first of the sources tells that there is, whatever others tell; `undefined` for a process alone. */
export function ranksOf(env: Readonly<Record<string, string | undefined>>): Ranks | undefined {
  const [first] = allTold(env);
  return first && first.size > 1 ? { rank: first.rank, size: first.size, source: first.source } : undefined;
}

/**
 * The same, where torchrun's variables tell a place and no other source contradicts it, and no launcher has told half of it: else several processes would each be
 * rank 0.
 */
export function agreedRanks(env: Readonly<Record<string, string | undefined>>): Ranks | undefined {
  const [first, ...others] = allTold(env);
  if (first?.source !== "RANK") {
    const { RANK, WORLD_SIZE } = env;
    if (!RANK && !WORLD_SIZE) {
      if (first === undefined) checkUntold(env);
      return ranksOf(env);
    }
    const got = `RANK ${RANK || "missing"} and WORLD_SIZE ${WORLD_SIZE || "missing"}`;
    throw new ResNetError("ERR_DISTRIBUTED", `distributed: expected RANK to be a whole number below WORLD_SIZE, got ${got}: set both, or unset them`);
  }
  // torchrun starts processes of its own within a step of srun, and so does who types a command in the shell of a step of one task.
  const isOutside = ({ source, size }: Ranks) => source === "SLURM_PROCID" && (size === 1 || env["TORCHELASTIC_RUN_ID"] !== undefined);
  const other = others.find((told) => (told.rank !== first.rank || told.size !== first.size) && !isOutside(told));
  if (other === undefined) return ranksOf(env);
  const expected = `RANK and WORLD_SIZE to tell what ${other.source} and ${other.sizes} do, rank ${other.rank} of ${other.size}`;
  const fix = "unset the pair that is left over; torchrun within srun wants srun --mpi=none";
  throw new ResNetError("ERR_DISTRIBUTED", `distributed: expected ${expected}, got rank ${first.rank} of ${first.size}: ${fix}`);
}

/** Refuses what shows that there are others, but not how many or which one this is. */
function checkUntold(env: Readonly<Record<string, string | undefined>>): void {
  const untold = (expected: string, got: string, fix: string) => new ResNetError("ERR_DISTRIBUTED", `distributed: expected ${expected}, got ${got}: ${fix}`);
  const launched = LAUNCHED.find((name) => env[name] !== undefined);
  if (launched !== undefined) {
    const fix = launched === "PMI_PORT" ? "start MPICH's mpirun without -pmi-port" : "start the program by mpirun, srun or torchrun itself";
    throw untold("a launcher that tells rank and number of processes", `${launched} alone`, `${fix}; unset it to train alone`);
  }
  const { SLURM_PROCID: rank, SLURM_NTASKS: tasks } = env;
  if (rank !== undefined && Number(tasks) > 1) {
    throw untold(`a task that srun has started, of the ${tasks} of this job`, `SLURM_PROCID ${rank} without SLURM_STEP_NUM_TASKS, as in a batch script`, "put srun --mpi=pmix or --mpi=pmi2 before node, or unset SLURM_NTASKS to train alone");
  }
}

/** Where processes meet that no launcher of MPI has started. */
export interface Rendezvous {
  /** Where rank 0 is. */
  readonly host: string;
  readonly port: number;
  /** Tells this start from others. */
  readonly run: string;
}

/** Variables by which MPI's own launchers, or Slurm for them, tell where they are. */
const LAUNCHED = ["PMI_FD", "PMI_PORT", "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"];

/** Where the processes that torchrun or Kubeflow has started are to meet; `undefined` where MPI has a launcher, or nothing tells. */
export function rendezvousOf(env: Readonly<Record<string, string | undefined>>): Rendezvous | undefined {
  const { MASTER_ADDR: host, TORCHELASTIC_RUN_ID = "", TORCHELASTIC_RESTART_COUNT = "" } = env;
  const [ranks, port] = [ranksOf(env), portOf(env)];
  if (ranks === undefined || !host || port === undefined) return undefined;
  const rendezvous = { host, port, run: `${TORCHELASTIC_RUN_ID}/${TORCHELASTIC_RESTART_COUNT}`.replaceAll(/\s/g, "_") };
  // What this package has left itself counts for nothing.
  const own = pmiOf(ranks, rendezvous);
  return LAUNCHED.some((name) => env[name] !== undefined && env[name] !== own[name]) ? undefined : rendezvous;
}

/** The port that is left for the rendezvous. */
function portOf({ MASTER_PORT = "", TORCHELASTIC_USE_AGENT_STORE }: Readonly<Record<string, string | undefined>>): number | undefined {
  // torchrun's own store may have that port.
  const port = /^\d{1,5}$/.test(MASTER_PORT) ? Number(MASTER_PORT) + (TORCHELASTIC_USE_AGENT_STORE === "True" ? 1 : 0) : 0;
  return port > 0 && port < 65_536 ? port : undefined;
}

/** The same, for processes of MPICH that only `RANK` and `WORLD_SIZE` tell of: they have no other way to meet. */
export function agreedRendezvous(env: Readonly<Record<string, string | undefined>>): Rendezvous | undefined {
  const { MASTER_ADDR, MASTER_PORT } = env;
  const needsOne = ranksOf(env)?.source === "RANK" && LAUNCHED.every((name) => env[name] === undefined);
  const wrong = (expected: string, name: string, got: string | undefined) => {
    const fix = "torchrun and Kubeflow set MASTER_ADDR and MASTER_PORT, by which processes find rank 0; MPICH's mpirun needs neither";
    return new ResNetError("ERR_DISTRIBUTED", `distributed: expected ${name} to be ${expected}, got ${got ? `"${got}"` : "none"}: ${fix}`);
  };
  if (needsOne && !MASTER_ADDR) throw wrong("the name or address of rank 0's machine", "MASTER_ADDR", MASTER_ADDR);
  if (needsOne && portOf(env) === undefined) throw wrong("a port from 1 to 65535, with torchrun to 65534", "MASTER_PORT", MASTER_PORT);
  return rendezvousOf(env);
}

/** The variables by which MPICH finds its launcher's server, which is rank 0 of a rendezvous. */
export function pmiOf({ rank }: Ranks, { host, port }: Rendezvous): Readonly<Record<string, string>> {
  return { PMI_PORT: `${rank === 0 ? "127.0.0.1" : host}:${port}`, PMI_ID: String(rank) };
}

/** Whether a process that MPICH's mpirun has started cannot talk to that any more. */
export function isDescriptorLost({ PMI_FD }: Readonly<Record<string, string | undefined>>): boolean {
  try {
    return Boolean(PMI_FD) && !fstatSync(Number(PMI_FD)).isSocket();
  } catch {
    return true;
  }
}

function allTold(env: Readonly<Record<string, string | undefined>>): (Ranks & { readonly sizes: string })[] {
  return SOURCES.flatMap(([source, sizes]) => {
    const [rank, size] = [env[source], env[sizes]].map((text) => (text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined));
    return rank !== undefined && size !== undefined && rank < size ? [{ rank, size, source, sizes }] : [];
  });
}
