import type { EpochRow } from "../history.js";
import type { Evaluation } from "../evaluate.js";
import type { LabelKind } from "../labels.js";
import type { Mistake } from "../mistakes.js";
import type { LayerRow } from "../summary.js";
import type { PictureTransform } from "../transform.js";

/** Why something is not there, as a sentence, and what would bring it. */
export interface Missing {
  readonly missing: string;
}

/** Whether something is not there; told by its form, since the page is made by a file that is loaded by itself. */
export function isMissing(found: object): found is Missing {
  return "missing" in found;
}

/** A picture within the page. */
export interface Shown {
  /** A data URI. */
  readonly src: string;
  /** In pixels. */
  readonly width: number;
  readonly height: number;
}

/** A mistake with its picture. */
export interface ShownMistake extends Mistake {
  readonly picture: Shown;
  /** The same with heat where the evidence is for the most probable class, if the network has maps to tell it by. */
  readonly heat?: Shown;
}

/** A sample as training sees it. */
export interface ShownSample {
  readonly picture: Shown;
  /** Names of its classes, or what was mixed. */
  readonly told: string;
}

/** Samples as training sees them, and the augmentations that change them. */
export interface Samples {
  readonly samples: readonly ShownSample[];
  readonly by: readonly string[];
}

/** What a data set is. */
export interface DataFacts {
  readonly samples: number;
  /** Channels, height and width. */
  readonly imageShape: readonly number[];
  /** How many samples are of each class, by label. */
  readonly counts: readonly number[];
}

/** What the model is measured on: what was kept for validation, the samples for training in want of others, or a set given by itself. */
export type Role = "validation" | "training" | "given";

/** All that a report tells: what its sections are made from. */
export interface Findings {
  readonly title: string;
  readonly written: Date;
  readonly network: {
    /** Name of its class, if it has one of its own. */
    readonly name?: string;
    readonly parameters: number;
    /** By which its first weights were drawn. */
    readonly seed: number;
    readonly labelKind: LabelKind;
    readonly temperature: number;
    readonly transform?: PictureTransform;
    readonly stages: readonly LayerRow[];
    readonly layers: readonly LayerRow[];
  };
  readonly rows: readonly EpochRow[] | Missing;
  readonly best?: { readonly epoch: number; readonly monitor: string; readonly value: number };
  readonly stoppedEarly: boolean;
  readonly data: {
    /** Where it came from, where the source tells. */
    readonly source?: string;
    readonly classNames: readonly string[];
    readonly train?: DataFacts;
    readonly measured: DataFacts;
    readonly role: Role;
    /** How the images for validation were chosen, where they were. */
    readonly split?: { readonly seed: number; readonly fraction: number; readonly stratified: boolean } | undefined;
  };
  /** By which the training drew, where it is known. */
  readonly trainingSeed?: number | undefined;
  readonly evaluation: Evaluation;
  readonly mistakes: readonly ShownMistake[] | Missing;
  readonly filters: { readonly picture: Shown; readonly name: string; readonly shape: readonly number[]; readonly count: number } | Missing;
  readonly augmented: Samples | Missing;
  /** What the training was told, as JSON has it. */
  readonly configuration: Readonly<Record<string, unknown>> | Missing;
  readonly environment: readonly (readonly [name: string, value: string])[];
}
