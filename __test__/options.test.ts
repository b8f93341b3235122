import {
  adam,
  adamw,
  Bottleneck,
  CifarResNet,
  fashionMnist,
  fit,
  GoogLeNet,
  Inception,
  lars,
  lion,
  loadModel,
  Residual,
  ResNet,
  ResNet18,
  ResNet50,
  ResNeXt18,
  ResNeXtBlock,
  rmsprop,
  sequential,
  sgd,
  tensor,
  Trainer,
} from "resnet-native";
import { expect, test } from "vitest";
import { any, pictures } from "./pictures.js";

const model = new ResNet18();

test.each<[string, () => unknown, string]>([
  [
    "unknown option",
    () => new ResNet18(any({ numclasses: 3 })),
    "got numclasses (did you mean numClasses?)",
  ],
  [
    "unlike any option",
    () => sgd(any({ foo: 3 })),
    "options: expected options named lr, momentum, dampening, nesterov, weightDecay, groups, decayNormsAndBiases, layerDecay, got foo",
  ],
  [
    "wrong type",
    () => new ResNet18(any({ numClasses: "10" })),
    'numClasses: expected an integer from 1 to 1048576, got "10"',
  ],
  [
    "zero classes",
    () => new ResNet18({ numClasses: 0 }),
    "numClasses: expected an integer from 1 to 1048576, got 0",
  ],
  ["null", () => new ResNet18(any({ seed: null })), "seed: expected an integer of at least 0, got null"],
  ["a fraction", () => new ResNet18({ seed: 0.5 }), "seed: expected an integer of at least 0, got 0.5"],
  [
    "beyond safe integers",
    () => new ResNet18({ seed: 2 ** 53 }),
    "seed: expected an integer of at least 0, got 9007199254740992",
  ],
  [
    "too many threads",
    () => new ResNet18({ threads: 1e6 }),
    "threads: expected an integer from 1 to 1024, got 1000000",
  ],
  ["options that are none", () => new ResNet18(any(5)), "options: expected an object, got 5"],
  ["no stages", () => new ResNet([]), "arch: expected at least 1 stage"],
  [
    "half a stage",
    () => new ResNet(any([[2]])),
    "arch: expected an array of [numResiduals, numChannels], integers of at least 1, or one of resnet18, ",
  ],
  ["no channels", () => new Residual(0), "numChannels: expected an integer from 1 to 1048576, got 0"],
  ["too many channels", () => new Residual(2 ** 21), "numChannels: expected an integer from 1 to 1048576, got 2097152"],
  [
    "a string for a boolean",
    () => new Residual(1, any({ use1x1Conv: "no" })),
    'use1x1Conv: expected a boolean, got "no"',
  ],
  ["a name", () => new ResNet(any("resnet19")), "or one of resnet18, resnet34, "],
  ["a name in capitals", () => new ResNet(any("ResNet18")), 'got "ResNet18"'],
  ["stages that are none", () => new ResNet(any({})), "arch: expected an array of [numResiduals, numChannels]"],
  ["an empty stage", () => new ResNet(any([[0, 64]])), "arch: expected an array of [numResiduals, numChannels]"],
  ["a billion blocks", () => new ResNet([[1_000_000, 64]]), "arch: expected at least 1 stage, at least 1 block in each and at most 10000"],
  ["a stem", () => new ResNet18({ stem: any("cifar") }), 'stem: expected "imagenet" or "deep" or "small", got "cifar"'],
  ["a shortcut", () => new ResNet18({ shortcut: any("pool") }), 'shortcut: expected "conv" or "avgpool" or "pad", got "pool"'],
  [
    "a padded shortcut with a convolution",
    () => new Residual(4, { shortcut: "pad", use1x1Conv: true }),
    "shortcut: expected conv or avgpool beside use1x1Conv: true, got pad",
  ],
  ["a flavor", () => new ResNet18({ flavor: any("timm") }), 'flavor: expected "d2l" or "torchvision", got "timm"'],
  ["a block", () => new ResNet18({ block: any("Bottleneck") }), 'block: expected "basic" or "bottleneck" or "resnext"'],
  ["groups of basic blocks", () => new ResNet18({ groups: 2 }), "groups: expected a bottleneck or resnext block, got"],
  ["a width of basic blocks", () => new ResNet18({ widthPerGroup: 8 }), "widthPerGroup: expected a bottleneck block, got"],
  ["a width of ResNeXt blocks", () => new ResNeXt18({ widthPerGroup: 8 }), "widthPerGroup: expected a bottleneck block, got"],
  ["a factor for bottlenecks", () => new ResNet50({ botMul: 2 }), "botMul: expected a resnext block, got"],
  ["ResNeXt with pre-activation", () => new ResNeXt18({ preActivation: true }), "block: expected basic or bottleneck"],
  ["groups that do not divide", () => new ResNeXtBlock(10, { groups: 3 }), "groups: expected channels of a group for which"],
  ["groups wider than the block", () => new ResNeXtBlock(8), "⌊8 / groups⌋ divides 8, got 16"],
  ["groups in a stage", () => new ResNeXt18({ groups: 7 }), "⌊64 / groups⌋ divides 64, got 7"],
  ["a factor of zero", () => new ResNeXtBlock(8, { botMul: 0 }), "a factor that makes 1 to 1048576 of 8 channels, got 0"],
  ["a width of nothing", () => new Bottleneck(8, { widthPerGroup: 4 }), "a width for which 8 channels make 3x3 convolutions of 1"],
  ["a block's option", () => new Residual(8, any({ groups: 2 })), "options: expected options named inChannels, seed, "],
  ["a depth between", () => new CifarResNet({ depth: 21 }), "depth: expected 6n + 2 (basic blocks) or 9n + 2 (bottlenecks), got 21"],
  ["a depth for basic blocks", () => new CifarResNet({ depth: 29, block: "basic" }), "depth: expected 6n + 2 for basic blocks, got 29"],
  ["a depth for bottlenecks", () => new CifarResNet({ depth: 32, block: "bottleneck" }), "depth: expected 9n + 2 for bottlenecks"],
  ["no depth", () => new CifarResNet(any({})), "depth: expected an integer from 8 to 20000, got undefined"],
  ["a depth beyond reason", () => new CifarResNet({ depth: 60_002 }), "depth: expected an integer from 8 to 20000, got 60002"],
  ["a depth alone", () => new CifarResNet(any(20)), "options: expected an object, got 20"],
  ["half a branch", () => new Inception(8, any([8]), [8, 8], 8), "c2: expected two integers from 1 to 1048576, got [8]"],
  ["no classes", () => new GoogLeNet({ numClasses: 0 }), "numClasses: expected an integer from 1 to 1048576, got 0"],
  ["no blocks", () => sequential(any([{}])), "blocks: expected an array of blocks, got […]"],
  ["a negative rate", () => sgd({ lr: -1 }), "lr: expected a finite number from 0 to 3.4028234663852886e+38, got -1"],
  ["a rate that is no number", () => sgd({ lr: NaN }), "lr: expected a finite number from 0 to 3.4028234663852886e+38, got NaN"],
  ["Nesterov alone", () => sgd({ nesterov: true }), "momentum: expected more than 0 with nesterov, got 0"],
  ["dampening alone", () => sgd({ dampening: 0.5 }), "momentum: expected more than 0 with dampening, got 0"],
  ["dampened Nesterov", () => sgd({ momentum: 0.9, nesterov: true, dampening: 0.5 }), "dampening: expected 0 with nesterov, got 0.5"],
  ["a beta of 1", () => adam({ betas: [0.9, 1] }), "betas: expected two numbers from 0 to below 1, got [0.9, 1]"],
  ["one beta", () => lion(any({ betas: [0.9] })), "betas: expected two numbers from 0 to below 1, got [0.9]"],
  ["a negative eps", () => adamw({ eps: -1e-8 }), "eps: expected a finite number from 0 to"],
  ["an alpha of 1", () => rmsprop({ alpha: 1 }), "alpha: expected a number from 0 to below 1, got 1"],
  ["a trust coefficient", () => lars({ trustCoefficient: -1 }), "trustCoefficient: expected a finite number from 0"],
  ["no groups", () => sgd(any({ groups: { layers: "fc" } })), 'groups: expected an array of groups such as { layers: "fc", lrFactor: 10 }, got'],
  ["a group that is none", () => sgd(any({ groups: [undefined] })), "groups[0]: expected a group such as"],
  ["a group without settings", () => adam({ groups: [{ layers: "fc" }] }), "groups[0]: expected lrFactor, weightDecay or frozen, got"],
  ["a group's option", () => adam(any({ groups: [{}, { lr: 1 }] })), "groups[0]: expected lrFactor, weightDecay or frozen, got {}"],
  ["a group's name", () => adam(any({ groups: [{ lr: 1 }] })), "groups[0]: expected options named layers, roles, lrFactor, weightDecay, frozen, got lr"],
  ["a group's factor", () => adam({ groups: [{ lrFactor: -1 }] }), "groups[0].lrFactor: expected a finite number from 0 to"],
  ["a group's role", () => adam(any({ groups: [{ roles: "gamma", frozen: true }] })), 'groups[0].roles: expected "weight" or "bias" or "norm" or an array of such'],
  ["a group of no layers", () => adam({ groups: [{ layers: [], frozen: true }] }), "groups[0].layers: expected at least one, got []"],
  ["a frozen rate", () => adam({ groups: [{ frozen: true, lrFactor: 2 }] }), "groups[0]: expected neither lrFactor nor weightDecay beside frozen: true"],
  ["a layer decay of 0", () => adamw({ layerDecay: 0 }), "layerDecay: expected a number above 0, at most 1, got 0"],
  ["a norm of 0", () => new Trainer(model, { clipNorm: 0 }), "clipNorm: expected a finite number from 0 to 3.4028234663852886e+38, above 0, got 0"],
  ["both ways to clip", () => new Trainer(model, { clipNorm: 1, clipValue: 2 }), "clipValue: expected none beside clipNorm, got 2"],
  ["half a batch", () => new Trainer(model, { accumulate: 0.5 }), "accumulate: expected an integer from 1 to 4294967295, got 0.5"],
  [
    "no optimiser",
    () => new Trainer(model, any({ optimizer: { lr: 1 } })),
    "optimizer: expected an optimiser such as sgd({ lr: 0.1 }), got { lr: 1 }",
  ],
  [
    "no model",
    () => new Trainer(any({})),
    "model: expected a model such as new ResNet18(), got {}",
  ],
  ["no numbers", () => tensor(any("abc"), [3]), 'data: expected an array or typed array of numbers, got "abc"'],
  ["no shape", () => tensor([1], any(1)), "shape: expected an array of integers of at least 1, got 1"],
  ["another shape", () => tensor([1, 2, 3], [2, 2]), "tensor: expected 4 values, got 3 for shape [2, 2]"],
  [
    "an unknown depth",
    () => model.layerSummary([1, 1, 96, 96], any({ depth: "all" })),
    'depth: expected "stages" or "layers", got "all"',
  ],
  [
    "no batch size",
    () => pictures(4).batches({ batchSize: 0 }),
    "batchSize: expected an integer from 1 to 4294967295, got 0",
  ],
  [
    "a batch that would be dropped",
    () => pictures(4).batches({ batchSize: 8, dropLast: true }),
    "batchSize: expected at most the 4 samples of the set with dropLast, got 8",
  ],
])("%s is refused at once", (_, call, message) => {
  expect(call).toThrow(
    expect.objectContaining({ name: "ResNetError", code: expect.stringMatching(/^ERR_(INVALID_ARGUMENT|SHAPE)$/) }),
  );
  expect(call).toThrow(message);
});

test.each<[string, () => PromiseLike<unknown>, string]>([
  ["epochs", () => fit(model, pictures(4), { epochs: 0 }), "epochs: expected an integer from 1 to 4294967295, got 0"],
  ["clipping", () => fit(model, pictures(4), { clipNorm: 1, clipValue: 1 }), "clipValue: expected none beside clipNorm, got 1"],
  ["accumulation", () => fit(model, pictures(4), { accumulate: 0 }), "accumulate: expected an integer from 1 to 4294967295, got 0"],
  ["callback", () => fit(model, pictures(4), any({ onStep: 1 })), "onStep: expected a function, got 1"],
  [
    "signal",
    () => fit(model, pictures(4), any({ signal: {} })),
    "signal: expected an AbortSignal, got {}",
  ],
  ["misspelt option", () => fit(model, pictures(4), any({ batchsize: 2 })), "got batchsize (did you mean batchSize?)"],
  [
    "data",
    () => fit(model, any(undefined)),
    "data.train: expected a data set such as fromArrays(…) makes, got undefined",
  ],
  ["validation", () => fit(model, any({ train: pictures(4), validation: 1 })), "data.validation: expected a data set"],
  ["path", () => loadModel(any(5)), "path: expected a path or a file URL, got 5"],
  ["rename", () => model.loadWeights("file", { rename: any("fc") }), 'rename: expected an object of names such as { linear: "fc" }, got "fc"'],
  ["list of renamings", () => model.loadWeights("file", { rename: any([["linear", "fc"]]) }), "rename: expected an object of names such as"],
  ["map of renamings", () => model.loadWeights("file", { rename: any(new Map()) }), "got an object of type Map"],
  ["new name", () => model.loadWeights("file", { rename: any({ linear: 5 }) }), 'rename["linear"]: expected a string, got 5'],
  [
    "resize",
    () => fashionMnist(any({ resize: [96] })),
    "resize: expected an integer from 1 to 16384 or a pair [height, width] of such, got [96]",
  ],
  [
    "interpolation",
    () => fashionMnist(any({ interpolation: "cubic" })),
    'interpolation: expected "pil" or "float", got "cubic"',
  ],
])("a wrong %s rejects", async (_, call, message) => {
  await expect(call()).rejects.toMatchObject({
    name: "ResNetError",
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringContaining(message),
  });
});

test("bytes are taken for pixels, other numbers as they are", () => {
  expect(tensor(Buffer.from([0, 255]), [2]).data).toEqual(new Float32Array([0, 1]));
  expect(tensor(new Uint8ClampedArray([51]), [1]).data).toEqual(new Float32Array([0.2]));
  expect(tensor(new Float64Array([2.5]), [1]).data).toEqual(new Float32Array([2.5]));
  const source = new Float32Array([1]);
  const copy = tensor(source, [1]);
  source[0] = 2;
  expect(copy.data).toEqual(new Float32Array([1]));
});
