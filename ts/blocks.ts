import { addon } from "./binding.js";
import { translated } from "./errors.js";
import { layerOf, Model, type ModelOptions, modelRule, modelRules, Network } from "./models.js";
import { boolean, check, checkOptions, count, list, type Rules } from "./options.js";

/** Options of a residual block. */
export interface ResidualOptions extends ModelOptions {
  /** Whether the shortcut is a 1x1 convolution, default false; needed where the block changes channels or size. */
  use1x1Conv?: boolean;
  /** Stride of the first convolution and of the shortcut, default 1. */
  strides?: number;
}

const residualRules: Rules<ResidualOptions> = { ...modelRules, use1x1Conv: boolean, strides: count };

/**
 * The residual block of two 3x3 convolutions (He et al., 2016): conv, norm, ReLU, conv, norm, added to the shortcut,
 * ReLU. Images (N, C, H, W) become (N, numChannels, ⌈H / strides⌉, ⌈W / strides⌉).
 *
 * @example
 * ```ts
 * const y = await new Residual(6, { use1x1Conv: true, strides: 2 }).forward(x);
 * ```
 */
export class Residual extends Model {
  /** @throws `ERR_INVALID_ARGUMENT` for numbers or options that cannot be. */
  constructor(numChannels: number, options?: ResidualOptions) {
    const channels = check("numChannels", numChannels, count);
    const { use1x1Conv = false, strides = 1, ...rest } = checkOptions(options, residualRules);
    super(
      translated(() => addon.describeResidual(channels, use1x1Conv, strides)),
      rest,
    );
  }
}

const blocksRule = list(modelRule, "an array of blocks");

/**
 * Blocks, one after the other. Only their descriptions are taken: the result has weights of its own, also where the
 * same block stands twice.
 *
 * @example
 * ```ts
 * const stage = sequential([new Residual(64, { use1x1Conv: true, strides: 2 }), new Residual(64)]);
 * ```
 * @throws `ERR_INVALID_ARGUMENT` if something in the array is no block.
 */
export function sequential(blocks: readonly Model[], options?: ModelOptions): Model {
  const layers = check("blocks", blocks, blocksRule).map(layerOf);
  const children = layers.map((layer, i) => `{"name":"${i}","layer":${layer}}`);
  const root = `{"type":"sequential","children":[${children.join()}]}`;
  return new Network(root, checkOptions(options, modelRules));
}
