import { fields } from "./description.js";
import { ResNetError } from "./errors.js";
import { boolean, check, checkOptions, either, list, number, numberWithin, oneOf, type Rules, string, unexpected } from "./options.js";

/** What a parameter is: the weight or the bias of a convolution or linear layer, or the scale or shift of a norm. */
export type ParameterRole = "weight" | "bias" | "norm";

/**
 * Parameters with settings of their own: those that `layers` and `roles` both name. Without any setting they have the optimiser's, whatever
 * later groups say: `[{ layers: "fc" }, { frozen: true }]` trains the head alone.
 */
export interface ParameterGroup {
  /**
   * Layers, blocks, stages or single parameters by name, such as `"fc"`, `"layer1"` or `"layer4.1.conv2.weight"`; `*` stands for any
   * letters. By default all.
   */
  layers?: string | readonly string[];
  /** Which of their parameters, by default all. */
  roles?: ParameterRole | readonly ParameterRole[];
  /** What the learning rate is multiplied by, default 1. */
  lrFactor?: number;
  /** Weight decay in place of the optimiser's. */
  weightDecay?: number;
  /**
   * Whether they stay as they are, without decay too, default false. Their gradients are not computed, nor
   * any below the lowest parameter that is trained.
   */
  frozen?: boolean;
  /**
   * Whether batch norms among them normalise by their running statistics in training too, as in evaluation, and leave those as they are;
   * gradients go through them. By default so are those that are `frozen`, as in Keras; false is what PyTorch does with
   * `requires_grad = False`. Of a norm whose scale and shift are in different groups, both decide.
   */
  frozenNorms?: boolean;
}

/** Options that every optimiser has for what is not the same for all parameters. */
export interface ParameterOptions {
  /** Parameters with settings of their own; of several groups that have a parameter the first counts. */
  groups?: readonly ParameterGroup[];
  /** Whether norms and biases have the weight decay of weights, default true (of `adamw` false); else they have none. */
  decayNormsAndBiases?: boolean;
  /**
   * What the learning rate is multiplied by from one block to the one before, from the head backwards, above 0, default 1: with 0.75 the
   * last block has 0.75 times the head's rate, the one before it 0.5625. Of networks without stages each part counts as a block.
   */
  layerDecay?: number;
}

/** A {@link ParameterGroup} as an optimiser has it. */
export interface GroupSettings extends Readonly<Omit<ParameterGroup, "layers" | "roles">> {
  /** Names of layers, blocks, stages or single parameters; if there are none, all. */
  readonly layers?: readonly string[];
  /** Which of their parameters; if there are none, all. */
  readonly roles?: readonly ParameterRole[];
}

/** {@link ParameterOptions} with their defaults, as an optimiser has them. */
export interface ParameterSettings {
  /** Parameters with settings of their own. */
  readonly groups: readonly GroupSettings[];
  /** Whether norms and biases have the weight decay of weights. */
  readonly decayNormsAndBiases: boolean;
  /** What the learning rate is multiplied by from one block to the one before. */
  readonly layerDecay: number;
}

const role = oneOf<ParameterRole>("weight", "bias", "norm");
const groupRules: Rules<ParameterGroup> = {
  layers: either(string, list(string, "an array of such")),
  roles: either(role, list(role, "an array of such")),
  lrFactor: number(0),
  weightDecay: number(0),
  frozen: boolean,
  frozenNorms: boolean,
};
/** The rules of those options. */
export const parameterRules: Rules<ParameterOptions> = {
  groups: { expected: "an array of groups such as { layers: \"fc\", lrFactor: 10 }", accepts: Array.isArray },
  decayNormsAndBiases: boolean,
  layerDecay: numberWithin(0, 1, "least"),
};

/** Those of the options, checked further and copied. */
export function parameterSettings(options: ParameterOptions, decaysByDefault = true): ParameterSettings {
  const { groups = [], decayNormsAndBiases = decaysByDefault, layerDecay = 1 } = options;
  return { groups: Object.freeze(Array.from(groups, checkGroup)), decayNormsAndBiases, layerDecay };
}

function checkGroup(group: ParameterGroup, index: number): GroupSettings {
  const where = `groups[${index}]`;
  if (group === undefined) throw unexpected(where, "a group such as { layers: \"fc\", lrFactor: 10 }", group);
  const { layers, roles, ...settings } = checkOptions(group, groupRules, where);
  const { lrFactor, weightDecay, frozen } = settings;
  if ([layers, roles, ...Object.values(settings)].every((given) => given === undefined)) {
    throw unexpected(where, "layers, roles, lrFactor, weightDecay, frozen or frozenNorms", group);
  }
  if (frozen === true && (lrFactor !== undefined || weightDecay !== undefined)) {
    throw new ResNetError("ERR_INVALID_ARGUMENT", `${where}: expected neither lrFactor nor weightDecay beside frozen: true, got one`);
  }
  const named = { layers: some(`${where}.layers`, layers), roles: some(`${where}.roles`, roles) };
  return Object.freeze({ ...named, ...settings });
}

/** One or several as several, which are at least one. */
function some<T extends string>(parameter: string, given: T | readonly T[] | undefined): readonly T[] | undefined {
  if (given === undefined) return undefined;
  const all = typeof given === "string" ? [given] : [...given];
  return check(parameter, Object.freeze(all), { expected: "at least one", accepts: () => all.length > 0 && !all.includes("" as T) });
}

/** The settings as the addon reads them. */
export function describeParameters({ groups, ...rest }: ParameterSettings): object {
  return { ...fields(rest), groups: groups.map((group) => fields(group)) };
}
