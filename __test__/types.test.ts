import * as api from "resnet-native";
import { expect, expectTypeOf, test } from "vitest";
import * as augmentations from "../ts/augment.js";
import * as fits from "../ts/fit.js";
import * as folders from "../ts/image-folder.js";
import * as layers from "../ts/layers.js";
import * as losses from "../ts/losses.js";
import * as networks from "../ts/networks.js";
import * as optimizers from "../ts/optimizers.js";
import * as schedules from "../ts/schedules.js";
import * as sources from "../ts/sources.js";

// What the compiler must accept and refuse: `npm run typecheck` reads this file, running it only builds the values.

test("the package gives these values, what is made by the dozen, and no others", () => {
  const families = [augmentations, fits, folders, layers, losses, networks, optimizers, schedules, sources].flatMap((family) => Object.keys(family));
  const others = [
    "Bottleneck",
    "Dataset",
    "History",
    "Inception",
    "LayerSummary",
    "Model",
    "PreActBottleneck",
    "PreActResidual",
    "ResNeXtBlock",
    "ResNetError",
    "Residual",
    "TensorBoard",
    "Trainer",
    "balancedSampler",
    "calibrate",
    "concat",
    "csvLog",
    "deviceInfo",
    "evaluate",
    "failRanks",
    "findLearningRate",
    "fromIterable",
    "gradCam",
    "inspectFolder",
    "jsonlLog",
    "loadModel",
    "mistakes",
    "plot",
    "preprocess",
    "previewBatch",
    "quantize",
    "ranks",
    "report",
    "residual",
    "sequential",
    "tensor",
  ];
  expect(Object.keys(api).toSorted()).toEqual([...families, ...others].toSorted());
});

test("models", () => {
  expectTypeOf(api.ResNet18).toBeConstructibleWith({ numClasses: 10, seed: 1, inChannels: 3, threads: 2, device: "cuda:1", precision: "bf16" });
  expectTypeOf(api.ResNet).toBeConstructibleWith([
    [2, 64],
    [2, 128],
  ] as const);
  expectTypeOf<api.ResNet18>().toExtend<api.Model>();
  expectTypeOf<api.Residual>().toExtend<Disposable>();
  expectTypeOf<api.Model["predict"]>().returns.toEqualTypeOf<Promise<api.Tensor>>();
  expectTypeOf<api.Model["to"]>().parameter(0).toEqualTypeOf<"auto" | "cpu" | "cuda" | `cuda:${number}`>();
  expectTypeOf<api.Model["stateDict"]>().returns.resolves.toEqualTypeOf<Map<string, api.Tensor>>();
  expectTypeOf(api.loadModel).returns.resolves.toEqualTypeOf<api.Model>();
  expectTypeOf(api.sequential).returns.toEqualTypeOf<api.Model>();
  expectTypeOf(api.ResNet).toBeConstructibleWith("wide_resnet50_2", { flavor: "torchvision", stem: "deep" });
  expectTypeOf(api.CifarResNet).toBeConstructibleWith({ depth: 110, preActivation: true, block: "basic" });
  expectTypeOf<api.Model["macs"]>().returns.toEqualTypeOf<number>();
  // @ts-expect-error unknown option
  expectTypeOf(api.ResNet18).toBeConstructibleWith({ classes: 10 });
  // @ts-expect-error no network has this name
  expectTypeOf(api.ResNet).toBeConstructibleWith("resnet19");
  // @ts-expect-error basic blocks have no groups
  expectTypeOf(api.Residual).toBeConstructibleWith(64, { groups: 2 });
  // @ts-expect-error its stem is the small one
  expect(() => new api.CifarResNet({ depth: 20, stem: "imagenet" })).toThrow("got stem");
  // @ts-expect-error a depth is needed
  expectTypeOf(api.CifarResNet).toBeConstructibleWith({});
  // @ts-expect-error a stage is a pair
  expectTypeOf(api.ResNet).toBeConstructibleWith([[2, 64, 3]]);
});

test("layers and blocks", () => {
  expectTypeOf(api.conv2d).toBeCallableWith(64, { kernelSize: [3, 1], stride: 2, groups: 4, bias: false, seed: 1 });
  expectTypeOf(api.conv2d).returns.toEqualTypeOf<api.Model>();
  expectTypeOf(api.residual).toBeCallableWith({ body: api.relu(), shortcut: new api.Residual(1), relu: false });
  expectTypeOf(api.concat).toBeCallableWith([api.relu(), api.globalAvgPool2d()], { inChannels: 3 });
  // @ts-expect-error a pool needs its kernel's size
  expectTypeOf(api.maxPool2d).toBeCallableWith({ stride: 2 });
  // @ts-expect-error a pair has two
  expectTypeOf(api.avgPool2d).toBeCallableWith({ kernelSize: [1, 2, 3] });
  // @ts-expect-error a body is needed
  expectTypeOf(api.residual).toBeCallableWith({ shortcut: api.relu() });
  // @ts-expect-error blocks come in an array
  expectTypeOf(api.sequential).toBeCallableWith(api.relu(), api.relu());
});

test("training", () => {
  expectTypeOf(api.fit).returns.toExtend<Promise<api.History>>();
  expectTypeOf(api.fit).returns.toExtend<AsyncIterable<api.FitEvent>>();
  expectTypeOf(api.fit).parameter(1).toEqualTypeOf<api.Dataset | api.TrainingData>();
  expectTypeOf<api.FashionMnist>().toExtend<api.TrainingData>();
  expectTypeOf<Extract<api.FitEvent, { type: "epoch" }>>().toExtend<api.EpochRow>();
  expectTypeOf<Extract<api.FitEvent, { type: "step" }>["loss"]>().toEqualTypeOf<number>();
  expectTypeOf<api.FitRun["dashboard"]>().toEqualTypeOf<Promise<string | undefined>>();
  expectTypeOf<api.FitOptions["dashboard"]>().toEqualTypeOf<boolean | api.DashboardOptions | undefined>();
  expectTypeOf(api.csvLog).returns.toEqualTypeOf<api.FitListener>();
  expectTypeOf(api.fit).toBeCallableWith(new api.ResNet18(), {} as api.Dataset, { onEvent: [({ type }) => type, ({} as api.TensorBoard).onEvent] });
  expectTypeOf<api.EpochRow["validationLoss"]>().toEqualTypeOf<number | undefined>();
  expectTypeOf<api.Trainer["step"]>().returns.resolves.toEqualTypeOf<api.Metrics>();
  expectTypeOf(api.evaluate).returns.resolves.toExtend<api.Metrics>();
  expectTypeOf(api.fit).toBeCallableWith(new api.ResNet18(), {} as api.Dataset, { loss: api.focal({ gamma: 1 }), labelSmoothing: 0.1 });
  // @ts-expect-error smoothing is an option of training, whatever the loss
  expect(() => api.focal({ labelSmoothing: 0.1 })).toThrow("labelSmoothing");
  expectTypeOf<api.FitOptions["optimizer"]>().toEqualTypeOf<api.Optimizer | undefined>();
  // The settings of an optimiser are its own type's.
  expectTypeOf<keyof api.Optimizer>().toEqualTypeOf<"name">();
  expectTypeOf(api.sgd).returns.toEqualTypeOf<api.Sgd>();
  expectTypeOf<api.Sgd>().toExtend<api.Optimizer>();
  expectTypeOf<api.Sgd["weightDecay"]>().toEqualTypeOf<number>();
  // @ts-expect-error they are read, not written
  expect(() => (api.sgd().lr = 1)).toThrow(TypeError);
});

test("data", () => {
  expectTypeOf(api.tensor).toBeCallableWith(Buffer.alloc(4), [4]);
  expectTypeOf(api.tensor).toBeCallableWith([1, 2], [2] as const);
  expectTypeOf<api.Dataset["batches"]>().returns.toExtend<AsyncIterable<api.Batch>>();
  expectTypeOf(api.fromArrays).toBeCallableWith({ images: [1], shape: [1, 1, 1, 1], labels: { data: [1, 0], shape: [1, 2] } });
  expectTypeOf<api.Batch["labels"]>().toEqualTypeOf<Uint32Array | Uint8Array>();
  expectTypeOf(api.fashionMnist).parameter(0).toEqualTypeOf<api.FashionMnistOptions | undefined>();
  // @ts-expect-error no such interpolation
  expectTypeOf(api.fashionMnist).toBeCallableWith({ interpolation: "cubic" });
  // @ts-expect-error big integers are no numbers here
  expectTypeOf(api.tensor).toBeCallableWith(new BigInt64Array(1), [1]);
});

test("errors", () => {
  expectTypeOf<api.ResNetError["history"]>().toEqualTypeOf<api.History | undefined>();
  expectTypeOf<api.ResNetError["code"]>().toEqualTypeOf<api.ErrorCode>();
});
