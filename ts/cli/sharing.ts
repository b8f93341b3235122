import { type FitOptions, ranks } from "../index.js";
import { flag, type Values, whole } from "./option.js";

/** Options of a training that several processes share. */
export const sharingOptions = {
  distributed: flag("shares the training with the other processes that mpirun, srun or torchrun has started; the first one alone writes and tells"),
  shards: whole("parts that each batch is cut into, by default as many as there are processes: with as many, other numbers of processes give the same bits", undefined, 1, 1024),
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
