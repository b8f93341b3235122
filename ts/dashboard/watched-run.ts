import type { Evaluation } from "../evaluate.js";
import type { LabelKind } from "../labels.js";
import type { Missing, Samples } from "../report/findings.js";

/** What is known of a run before it begins. */
export interface Facts {
  readonly title: string;
  /** The network's name, if it has one of its own. */
  readonly network?: string;
  readonly parameters?: number;
  /** Images for training, and for validation if there are some. */
  readonly train: number;
  readonly validation?: number;
  readonly labelKind: LabelKind;
  readonly epochs: number;
  readonly batchSize: number;
  /** Whether it may end before its last epoch. */
  readonly mayEndEarly: boolean;
  /** This package and its version. */
  readonly generator: string;
}

/** What a page may ask of a run. */
export interface Controls {
  pause(paused: boolean): void;
  /** Resolves when whoever decides has decided: whether the run ends. */
  stop(): Promise<boolean>;
  /** Images as an epoch's steps see them. */
  samples(epoch: number): Promise<Samples | Missing>;
  /** The validation set evaluated class by class, if there is one. */
  readonly confusion: (() => Promise<Evaluation>) | undefined;
}

/** How a run has ended. */
export interface End {
  readonly status: "finished" | "stopped" | "failed";
  /** Why it failed. */
  readonly message?: string;
}
