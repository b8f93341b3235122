import { hostname } from "node:os";
import { type ErrorCode, failRanks, type FitOptions, ranks, ResNetError } from "../index.js";
import { explained, Misuse } from "./failure.js";
import { flag, type Values, whole } from "./option.js";
import type { Screen } from "./screen.js";

/** Options of a training that several processes share. */
export const sharingOptions = {
  distributed: flag("shares the training with the other processes that mpirun, srun or torchrun has started; the first one alone writes and tells"),
  alone: flag("trains by itself although there are such processes, as for trainings with an --output each"),
  shards: whole("parts that each batch is cut into, by default as many as there are processes: with as many, other numbers of processes give the same bits", undefined, 1),
};
type Sharing = Values<typeof sharingOptions>;

/** The same as the library takes them. */
export function sharing({ distributed, shards }: Sharing): Pick<FitOptions, "distributed" | "shards"> {
  return { ...(distributed && { distributed: "auto" as const }), ...(shards !== undefined && { shards }) };
}

/** Whether this is one of several processes, and not the first. */
export function isOther({ distributed }: { readonly distributed?: FitOptions["distributed"] | boolean }): boolean {
  return Boolean(distributed) && (ranks()?.rank ?? 0) > 0;
}

/** Has a process that is not the first write nothing but errors, in which each names itself; refuses several that would each write the same files. */
export function takePlace({ distributed, alone }: Sharing, screen: Screen): void {
  if (alone && distributed) throw new Misuse("--alone: expected without --distributed, got both");
  if (alone) return;
  const told = distributed ? ranks() : othersOf();
  if (told === undefined) return;
  screen.rank = told.rank;
  if (!distributed) {
    const got = `neither where ${told.source} tells of ${told.size} processes, which would each write the same files`;
    throw new Misuse(`--distributed: expected it, to share one training, or --alone, got ${got}`);
  }
  // What MPICH's mpirun names of a process that is killed, and of its rank nothing.
  if (process.env["PMI_FD"]) screen.status.note(`rank ${told.rank} is process ${process.pid} on ${hostname()}`);
  if (told.rank > 0) screen.mute();
}

/** Tells the others of what has ended this process before they share a training. */
export function failTogether(error: unknown, screen: Screen): void {
  screen.rank ??= othersOf()?.rank;
  const { code, message } = explained(error);
  failRanks(new ResNetError(code as ErrorCode, message));
}

/** What a launcher tells; variables that contradict each other are none of one. */
function othersOf(): ReturnType<typeof ranks> {
  try {
    return ranks();
  } catch {
    return undefined;
  }
}
