import {
  fashionMnist,
  fit,
  loadModel,
  Residual,
  ResNet,
  ResNet18,
  sequential,
  sgd,
  tensor,
  Trainer,
} from "resnet-native";
import { expect, test } from "vitest";
import { pictures } from "./pictures.js";

const model = new ResNet18();
/** What a caller without types may give. */
const any = (value: unknown) => value as never;

test.each<[string, () => unknown, string]>([
  [
    "unknown option",
    () => new ResNet18(any({ numclasses: 3 })),
    "got numclasses (did you mean numClasses?)",
  ],
  [
    "unlike any option",
    () => sgd(any({ foo: 3 })),
    "options: expected options named lr, momentum, nesterov, weightDecay, got foo",
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
  ["no blocks", () => sequential(any([{}])), "blocks: expected an array of blocks, got […]"],
  ["a negative rate", () => sgd({ lr: -1 }), "lr: expected a finite number of at least 0, got -1"],
  ["a rate that is no number", () => sgd({ lr: NaN }), "lr: expected a finite number of at least 0, got NaN"],
  ["Nesterov alone", () => sgd({ nesterov: true }), "momentum: expected more than 0 with nesterov, got 0"],
  [
    "no optimiser",
    () => new Trainer(model, any({ optimizer: { lr: 1 } })),
    "optimizer: expected an optimiser such as sgd({ lr: 0.1 }), got an object of type Object",
  ],
  [
    "no model",
    () => new Trainer(any({})),
    "model: expected a model such as new ResNet18(), got an object of type Object",
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
])("%s is refused at once", (_, call, message) => {
  expect(call).toThrow(
    expect.objectContaining({ name: "ResNetError", code: expect.stringMatching(/^ERR_(INVALID_ARGUMENT|SHAPE)$/) }),
  );
  expect(call).toThrow(message);
});

test.each<[string, () => PromiseLike<unknown>, string]>([
  ["epochs", () => fit(model, pictures(4), { epochs: 0 }), "epochs: expected an integer from 1 to 4294967295, got 0"],
  ["callback", () => fit(model, pictures(4), any({ onStep: 1 })), "onStep: expected a function, got 1"],
  [
    "signal",
    () => fit(model, pictures(4), any({ signal: {} })),
    "signal: expected an AbortSignal, got an object of type Object",
  ],
  ["misspelt option", () => fit(model, pictures(4), any({ batchsize: 2 })), "got batchsize (did you mean batchSize?)"],
  [
    "data",
    () => fit(model, any(undefined)),
    "data.train: expected a data set such as fromArrays(…) makes, got undefined",
  ],
  ["validation", () => fit(model, any({ train: pictures(4), validation: 1 })), "data.validation: expected a data set"],
  ["path", () => loadModel(any(5)), "path: expected a path or a file URL, got 5"],
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
