import {
  avgPool2d,
  batchNorm2d,
  concat,
  conv2d,
  dropout,
  globalAvgPool2d,
  linear,
  maxPool2d,
  type Model,
  padChannels,
  type Pair,
  relu,
  residual,
  sequential,
  sgd,
  silu,
  type Tensor,
  tensor,
  Trainer,
} from "resnet-native";
import { expect, test } from "vitest";
import { any, digest } from "./pictures.js";

/** Values between -1 and 1 that do not repeat. */
function values(...shape: number[]): Tensor {
  const length = shape.reduce((product, size) => product * size, 1);
  return tensor(Float32Array.from({ length }, (_, i) => Math.sin(i * i + 1)), shape);
}

function both(pair: Pair): readonly [number, number] {
  return typeof pair === "number" ? [pair, pair] : pair;
}

interface Windows {
  kernelSize: Pair;
  stride?: Pair;
  padding?: Pair;
  ceilMode?: boolean;
}

/** Where windows start, and how many there are. */
function places(size: number, kernel: number, stride: number, padding: number, ceilMode = false): number[] {
  const round = ceilMode ? Math.ceil : Math.floor;
  const count = round((size + 2 * padding - kernel) / stride) + 1;
  // A window that starts beyond the image and its left padding is left out.
  return Array.from({ length: count }, (_, i) => i * stride - padding).filter((start) => start < size);
}

/** What `of` makes of each window: its values inside the image, and its pixels with padding. */
function pooled(x: Tensor, given: Windows, of: (inside: number[], pixels: number) => number): number[] {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const [[kh, kw], [sh, sw]] = [both(given.kernelSize), both(given.stride ?? given.kernelSize)];
  const [ph, pw] = both(given.padding ?? 0);
  return Array.from({ length: n * c }, (_, map) =>
    places(h, kh, sh, ph, given.ceilMode).flatMap((top) =>
      places(w, kw, sw, pw, given.ceilMode).map((left) => {
        const inside: number[] = [];
        for (let row = Math.max(top, 0); row < Math.min(top + kh, h); row++) {
          const [from, to] = [Math.max(left, 0), Math.min(left + kw, w)];
          inside.push(...x.data.subarray((map * h + row) * w + from, (map * h + row) * w + to));
        }
        return of(inside, (Math.min(top + kh, h + ph) - top) * (Math.min(left + kw, w + pw) - left));
      }),
    ),
  ).flat();
}

/** A convolution by its definition. */
function convolved(x: Tensor, weight: Tensor, bias: Tensor | undefined, given: Windows, groups: number): number[] {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const [out, inputs, kh, kw] = weight.shape as [number, number, number, number];
  const [[sh, sw], [ph, pw]] = [both(given.stride ?? 1), both(given.padding ?? 0)];
  const result: number[] = [];
  for (let image = 0; image < n; image++) {
    for (let o = 0; o < out; o++) {
      const first = Math.floor(o / (out / groups)) * inputs;
      for (let top = -ph; top + kh <= h + ph; top += sh) {
        for (let left = -pw; left + kw <= w + pw; left += sw) {
          let sum = bias?.data[o] ?? 0;
          for (let i = 0; i < inputs * kh * kw; i++) {
            const [input, row, column] = [Math.floor(i / (kh * kw)), top + (Math.floor(i / kw) % kh), left + (i % kw)];
            if (row < 0 || row >= h || column < 0 || column >= w) continue;
            const pixel = ((image * c + first + input) * h + row) * w + column;
            sum += weight.data[o * inputs * kh * kw + i]! * x.data[pixel]!;
          }
          result.push(sum);
        }
      }
    }
  }
  return result;
}

function expectClose(found: Tensor, expected: readonly number[]): void {
  expect(found.data).toHaveLength(expected.length);
  const worst = found.data.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
  expect(worst).toBeLessThan(1e-5);
}

test.each([
  [{}, [2, 3, 5, 6], [2, 4, 3, 4]],
  [{ kernelSize: 1, bias: false }, [1, 5, 3, 3], [1, 4, 3, 3]],
  [{ kernelSize: [3, 1], stride: [1, 2], padding: [1, 0] }, [2, 2, 5, 6], [2, 4, 5, 3]],
  [{ kernelSize: 5, stride: 3, padding: 4 }, [1, 3, 7, 8], [1, 4, 4, 4]],
  [{ padding: 1, groups: 2 }, [2, 6, 4, 4], [2, 4, 4, 4]],
  [{ padding: 1, stride: 2, groups: 4, bias: false }, [1, 4, 5, 5], [1, 4, 3, 3]],
  [{ kernelSize: [2, 4], padding: [1, 3] }, [1, 17, 3, 2], [1, 4, 4, 5]],
] as const)("conv2d(4, %j) of %j", async (options, shape, output) => {
  using layer = conv2d(4, options);
  const x = values(...shape);
  const y = await layer.forward(x);
  expect(y.shape).toEqual(output);
  const weights = await layer.stateDict();
  const { groups = 1, kernelSize = 3, ...given } = { ...options } as Windows & { groups?: number };
  expect([...weights.keys()]).toEqual("bias" in options ? ["weight"] : ["weight", "bias"]);
  expect(weights.get("weight")!.shape).toEqual([4, shape[1] / groups, ...both(kernelSize)]);
  expectClose(y, convolved(x, weights.get("weight")!, weights.get("bias"), { kernelSize, ...given }, groups));
});

test.each([
  [{ kernelSize: 2 }, [2, 3, 5, 6], [2, 3, 2, 3]],
  [{ kernelSize: 3, stride: 2, padding: 1 }, [1, 17, 6, 7], [1, 17, 3, 4]],
  [{ kernelSize: [1, 3], stride: [2, 1], padding: [0, 1] }, [2, 2, 5, 4], [2, 2, 3, 4]],
] as const)("maxPool2d(%j) of %j", async (options, shape, output) => {
  // All below zero: padding that won would show.
  const x = tensor(values(...shape).data.map((value) => value - 2), shape);
  const y = await maxPool2d(options).forward(x);
  expect(y.shape).toEqual(output);
  expect([...y.data]).toEqual(pooled(x, options, (inside) => Math.max(...inside)));
});

test.each([
  [{ kernelSize: 2 }, [2, 3, 5, 6], [2, 3, 2, 3]],
  [{ kernelSize: 2, ceilMode: true }, [2, 3, 5, 6], [2, 3, 3, 3]],
  [{ kernelSize: 2, ceilMode: true, countIncludePad: false }, [1, 17, 5, 5], [1, 17, 3, 3]],
  [{ kernelSize: 3, stride: 2, padding: 1 }, [1, 2, 6, 7], [1, 2, 3, 4]],
  [{ kernelSize: 3, stride: 2, padding: 1, ceilMode: true }, [1, 2, 6, 6], [1, 2, 4, 4]],
  [{ kernelSize: 3, stride: 2, padding: 1, ceilMode: true, countIncludePad: false }, [1, 2, 6, 6], [1, 2, 4, 4]],
  [{ kernelSize: [3, 2], stride: [1, 3], padding: [1, 0], countIncludePad: false }, [2, 2, 4, 8], [2, 2, 4, 3]],
  // PyTorch drops the window that would start in the padding behind the image.
  [{ kernelSize: 2, stride: 3, padding: 1, ceilMode: true }, [1, 1, 5, 4], [1, 1, 2, 2]],
] as const)("avgPool2d(%j) of %j", async (options, shape, output) => {
  const x = values(...shape);
  const y = await avgPool2d(options).forward(x);
  expect(y.shape).toEqual(output);
  const padded = !("countIncludePad" in options);
  const mean = (inside: number[], pixels: number) => {
    return inside.reduce((sum, value) => sum + value, 0) / (padded ? pixels : inside.length);
  };
  expectClose(y, pooled(x, options, mean));
});

/** Mean and biased variance of a channel. */
function moments({ data, shape }: Tensor, channel: number): { mean: number; variance: number; count: number } {
  const [, c, h, w] = shape as [number, number, number, number];
  const own = [...data].filter((_, i) => Math.floor(i / (h * w)) % c === channel);
  const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
  return { mean, variance: own.reduce((sum, value) => sum + (value - mean) ** 2, 0) / own.length, count: own.length };
}

test("a batch norm uses the batch's statistics in training and the running ones otherwise", async () => {
  const x = values(3, 2, 4, 5);
  const channels = [moments(x, 0), moments(x, 1)];
  using model = sequential([batchNorm2d({ momentum: 0.25, eps: 1e-3 }), globalAvgPool2d()]);
  using layer = batchNorm2d({ eps: 1e-3 });
  const of = (i: number) => channels[Math.floor(i / 20) % 2]!;
  const normalised = [...x.data].map((value, i) => (value - of(i).mean) / Math.sqrt(of(i).variance + 1e-3));
  expectClose(await layer.forward(x, { training: true }), normalised);
  expectClose(await layer.forward(x), [...x.data].map((value) => value / Math.sqrt(1 + 1e-3)));
  await new Trainer(model, { optimizer: sgd({ lr: 0 }) }).step(x, [0, 1, 0]);
  const weights = await model.stateDict();
  expectClose(weights.get("0.running_mean")!, channels.map(({ mean }) => mean / 4));
  const unbiased = channels.map(({ variance, count }) => (variance * count) / (count - 1));
  expectClose(weights.get("0.running_var")!, unbiased.map((variance) => 3 / 4 + variance / 4));
});

test("a batch norm can start at zero", async () => {
  using layer = batchNorm2d({ zeroInit: true });
  expect(new Set((await layer.forward(values(2, 3, 2, 2), { training: true })).data)).toEqual(new Set([0]));
});

test("a linear layer is the product with its weight, and its bias", async () => {
  using plain = sequential([globalAvgPool2d(), linear(4, { bias: false })]);
  using layer = sequential([globalAvgPool2d(), linear(4)]);
  const x = values(3, 5, 1, 1);
  for (const [model, names] of [[layer, ["1.weight", "1.bias"]], [plain, ["1.weight"]]] as const) {
    const y = await model.forward(x);
    const weights = await model.stateDict();
    expect([...weights.keys()]).toEqual(names);
    expect(y.shape).toEqual([3, 4]);
    const sum = (n: number, o: number) => {
      const products = Array.from({ length: 5 }, (_, i) => x.data[n * 5 + i]! * weights.get("1.weight")!.data[o * 5 + i]!);
      return products.reduce((total, product) => total + product, weights.get("1.bias")?.data[o] ?? 0);
    };
    expectClose(y, Array.from({ length: 12 }, (_, i) => sum(Math.floor(i / 4), i % 4)));
  }
});

test("ReLU, SiLU and the global pool are what they are called", async () => {
  const x = values(2, 3, 4, 5);
  expect((await relu().forward(x)).data).toEqual(x.data.map((value) => Math.max(value, 0)));
  const swish = (await silu().forward(x)).data;
  x.data.forEach((value, index) => expect(swish[index]).toBeCloseTo(value / (1 + Math.exp(-value)), 6));
  const means = pooled(x, { kernelSize: [4, 5] }, (inside) => inside.reduce((sum, value) => sum + value, 0) / 20);
  const y = await globalAvgPool2d().forward(x);
  expect(y.shape).toEqual([2, 3]);
  expectClose(y, means);
});

test.each([
  [5, {}, [2, 3, 2, 4], [2, 5, 2, 4]],
  [32, { stride: 2 }, [1, 16, 5, 6], [1, 32, 3, 3]],
  [20, { stride: [1, 3] }, [2, 17, 3, 4], [2, 20, 3, 2]],
] as const)("padChannels(%d, %j) of %j takes pixels, and has zeros around their channels", async (outChannels, options, shape, output) => {
  const x = values(...shape);
  using layer = padChannels(outChannels, options);
  const y = await layer.forward(x);
  expect(y.shape).toEqual(output);
  const [n, c, , ] = shape;
  const taken = pooled(x, { stride: 1, ...options, kernelSize: 1 }, (inside) => inside[0]!);
  const plane = output[2] * output[3];
  const zeros = (planes: number) => Array.from({ length: planes * plane }, () => 0);
  const before = Math.floor((outChannels - c) / 2);
  const expected = Array.from({ length: n }, (_, i) => [
    ...zeros(before),
    ...taken.slice(i * c * plane, (i + 1) * c * plane),
    ...zeros(outChannels - c - before),
  ]);
  expect([...y.data]).toEqual(expected.flat());
  expect((await layer.stateDict()).size).toBe(0);
});

test("dropout drops in training alone, scales what stays, and repeats itself", async () => {
  const ones = tensor(new Float32Array(4 * 3 * 50 * 50).fill(1), [4, 3, 50, 50]);
  using layer = dropout({ p: 0.2 });
  expect(await layer.forward(ones)).toEqual(ones);
  const { data } = await layer.forward(ones, { training: true });
  expect([...new Set(data)].toSorted()).toEqual([0, 1.25]);
  const share = data.filter((value) => value === 0).length / data.length;
  // Five standard deviations.
  expect(Math.abs(share - 0.2)).toBeLessThan(5 * Math.sqrt((0.2 * 0.8) / data.length));
  expect((await layer.forward(ones, { training: true })).data).toEqual(data);
  using other = dropout({ p: 0.2, seed: 1 });
  expect((await other.forward(ones, { training: true })).data).not.toEqual(data);
  // Two in a row drop independently of each other.
  using twice = sequential([dropout(), dropout()]);
  const left = (await twice.forward(ones, { training: true })).data.filter((value) => value === 4).length;
  expect(Math.abs(left / data.length - 1 / 4)).toBeLessThan(5 * Math.sqrt((0.25 * 0.75) / data.length));
});

test("each step of training drops others, and the same ones in the same run", async () => {
  const losses = async () => {
    using model = sequential([dropout(), globalAvgPool2d(), linear(3)]);
    const trainer = new Trainer(model, { optimizer: sgd({ lr: 0 }) });
    const found = [];
    for (let step = 0; step < 4; step++) found.push((await trainer.step(values(3, 4, 5, 5), [0, 1, 2])).loss);
    return found;
  };
  const found = await losses();
  expect(new Set(found).size).toBe(4);
  expect(await losses()).toEqual(found);
});

test("concat puts the branches' channels side by side in their order", async () => {
  const x = values(2, 3, 4, 4);
  using block = concat([relu(), sequential([]), sequential([conv2d(5, { padding: 1 }), relu()]), relu()]);
  const y = await block.forward(x);
  expect(y.shape).toEqual([2, 3 + 3 + 5 + 3, 4, 4]);
  const [image, plane] = [14 * 16, 16];
  for (const n of [0, 1]) {
    const part = (from: number, to: number) => y.data.slice(n * image + from * plane, n * image + to * plane);
    const own = x.data.slice(n * 3 * plane, (n + 1) * 3 * plane);
    expect(part(3, 6)).toEqual(own);
    for (const first of [0, 11]) expect(part(first, first + 3)).toEqual(own.map((value) => Math.max(value, 0)));
  }
  expect([...(await block.stateDict()).keys()]).toEqual(["2.0.weight", "2.0.bias"]);
});

test("concat joins features as it joins maps", async () => {
  using model = concat([globalAvgPool2d(), sequential([globalAvgPool2d(), linear(5)])]);
  expect((await model.forward(values(2, 3, 4, 4))).shape).toEqual([2, 8]);
});

test("residual adds the shortcut to the body, then ReLU unless told otherwise", async () => {
  const x = values(2, 4, 5, 5);
  const body = conv2d(4, { padding: 1 });
  for (const shortcut of [undefined, sequential([relu()])]) {
    using plain = residual({ body, shortcut, relu: false, inChannels: 4 });
    using block = residual({ body, shortcut });
    const weights = await plain.stateDict();
    expect([...weights.keys()]).toEqual(["body.weight", "body.bias"]);
    const branch = convolved(x, weights.get("body.weight")!, weights.get("body.bias"), { kernelSize: 3, padding: 1 }, 1);
    const sum = branch.map((value, i) => value + (shortcut ? Math.max(x.data[i]!, 0) : x.data[i]!));
    expectClose(await plain.forward(x), sum);
    expectClose(await block.forward(x), sum.map((value) => Math.max(value, 0)));
  }
});

test.each<[string, (init?: "xavier-uniform" | "kaiming-normal" | "torch-default") => Model, number, number]>([
  ["conv2d", (init) => conv2d(32, { kernelSize: 5, groups: 2, init, inChannels: 64 }), 32 * 25, 32 * 25],
  ["linear", (init) => sequential([globalAvgPool2d(), linear(100, { init })], { inChannels: 300 }), 300, 100],
])("%s draws its weight as asked", async (_, make, fanIn, fanOut) => {
  const xavier = Math.sqrt(6 / (fanIn + fanOut));
  const bounds = { "xavier-uniform": xavier, "torch-default": 1 / Math.sqrt(fanIn) };
  const weightOf = async (model: Model) => [...(await model.stateDict()).values()][0]!.data;
  for (const [init, bound] of Object.entries(bounds)) {
    const data = await weightOf(make(init as keyof typeof bounds));
    const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(largest).toBeGreaterThan(0.99 * bound);
    expect(largest).toBeLessThanOrEqual(bound * (1 + 1e-6));
  }
  const data = await weightOf(make("kaiming-normal"));
  const deviation = Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length);
  expect(deviation / Math.sqrt(2 / fanOut)).toBeCloseTo(1, 1);
  expect(await digest(make())).toBe(await digest(make("xavier-uniform")));
});

test("a layer takes its input channels from what comes first", async () => {
  using model = sequential([conv2d(6), batchNorm2d(), relu(), conv2d(4, { groups: 2 }), globalAvgPool2d(), linear(3)]);
  expect(model.inChannels).toBeUndefined();
  await model.forward(values(1, 2, 6, 6));
  expect(model.inChannels).toBe(2);
  const shapes = [...(await model.stateDict())].filter(([name]) => name.endsWith("weight"));
  expect(shapes.map(([name, { shape }]) => [name, shape])).toEqual([
    ["0.weight", [6, 2, 3, 3]],
    ["1.weight", [6]],
    ["3.weight", [4, 3, 3, 3]],
    ["5.weight", [3, 4]],
  ]);
});

test.each<[string, () => Model, string]>([
  ["no output channels", () => conv2d(any(undefined)), "outChannels: expected an integer from 1 to 1048576, got undefined"],
  ["half a channel", () => conv2d(1.5), "outChannels: expected an integer from 1 to 1048576, got 1.5"],
  ["an empty kernel", () => conv2d(1, { kernelSize: 0 }), "kernelSize: expected an integer from 1 to 1048576, or two of them, got 0"],
  ["three sizes", () => conv2d(1, { kernelSize: any([1, 2, 3]) }), "two of them, got [1, 2, 3]"],
  ["a negative padding", () => conv2d(1, { padding: -1 }), "padding: expected an integer from 0 to 1048576, or two of them, got -1"],
  ["padding by name", () => conv2d(1, { padding: any("same") }), 'or two of them, got "same"'],
  ["stride 0", () => maxPool2d({ kernelSize: 2, stride: [1, 0] }), "stride: expected an integer from 1 to 1048576, or two of them"],
  ["no groups", () => conv2d(1, { groups: 0 }), "groups: expected an integer from 1 to 1048576, got 0"],
  ["a foreign init", () => conv2d(1, { init: any("he") }), 'init: expected "xavier-uniform" or "kaiming-normal" or'],
  ["a pool without kernel", () => maxPool2d(any(undefined)), "kernelSize: expected an integer from 1"],
  ["a kernel that is no option", () => avgPool2d(any(2)), "options: expected an object, got 2"],
  ["PyTorch's spelling", () => avgPool2d(any({ kernelSize: 2, ceil_mode: true })), "got ceil_mode (did you mean ceilMode?)"],
  ["padding to no channels", () => padChannels(0), "outChannels: expected an integer from 1 to 1048576, got 0"],
  ["a stride of padding", () => padChannels(4, { stride: 0 }), "stride: expected an integer from 1 to 1048576, or two of them, got 0"],
  ["a negative eps", () => batchNorm2d({ eps: -1 }), "eps: expected a finite number from 0 to 3.4028234663852886e+38, got -1"],
  ["momentum above 1", () => batchNorm2d({ momentum: 2 }), "momentum: expected a finite number from 0 to 1, got 2"],
  ["dropping all", () => dropout({ p: 1 }), "p: expected a number from 0 to below 1, got 1"],
  ["a probability in words", () => dropout({ p: any("0.5") }), 'p: expected a number from 0 to below 1, got "0.5"'],
  ["no probability", () => dropout({ p: any(null) }), "p: expected a number from 0 to below 1, got null"],
  ["no features", () => linear(0), "outFeatures: expected an integer from 1 to 1048576, got 0"],
  ["a body that is none", () => residual(any({})), "body: expected a model such as new ResNet18(), got undefined"],
  ["a shortcut that is none", () => residual({ body: relu(), shortcut: any("x") }), 'shortcut: expected a model such as'],
  ["branches in a row", () => concat(any(relu())), "branches: expected an array of blocks, got an object of type Network"],
])("%s is refused at once", (_, call, message) => {
  expect(call).toThrow(expect.objectContaining({ name: "ResNetError", code: "ERR_INVALID_ARGUMENT" }));
  expect(call).toThrow(message);
});

test.each<[string, () => Model, RegExp]>([
  ["groups that do not divide the output", () => conv2d(10, { groups: 3, inChannels: 3 }), /groups.*10/],
  ["groups that do not divide the input", () => conv2d(9, { groups: 3, inChannels: 4 }), /groups.*4/],
  ["padding of more than half a window", () => avgPool2d({ kernelSize: 3, padding: 2, inChannels: 1 }), /padding/],
  ["a window that is too large", () => maxPool2d({ kernelSize: 16, inChannels: 1 }), /255/],
  ["a linear layer on maps", () => linear(2, { inChannels: 3 }), /^network: expected features \(N, F\), got \(N, 3, /],
  [
    "a pool on features",
    () => sequential([globalAvgPool2d(), globalAvgPool2d()], { inChannels: 3 }),
    /^1: expected maps \(N, C, H, W\), got \(N, 3\)/,
  ],
  ["fewer channels", () => padChannels(4, { inChannels: 5 }), /^network: expected maps of at most the 4 channels .*, got \(N, 5, /],
  ["no branches", () => concat([], { inChannels: 1 }), /at least 1 branch/],
  [
    "branches of different sizes",
    () => sequential([concat([relu(), conv2d(2)])], { inChannels: 1 }),
    /^0: cannot concatenate branches of \(N, 1, 224, 224\) and \(N, 2, 222, 222\)/,
  ],
])("%s, once the channels are known", (_, call, message) => {
  expect(call).toThrow(expect.objectContaining({ code: expect.stringMatching(/^ERR_(SHAPE|INVALID_ARGUMENT)$/) }));
  expect(call).toThrow(message);
});

test("a map that is too small for a window is refused with the layer's path", () => {
  const model = sequential([conv2d(4, { kernelSize: 7 }), sequential([maxPool2d({ kernelSize: 3 })])]);
  const call = () => model.layerSummary([1, 1, 8, 8]);
  expect(call).toThrow(expect.objectContaining({ code: "ERR_SHAPE" }));
  expect(call).toThrow("1.0: expected a map of at least [3, 3] pixels with padding [0, 0], got (N, 4, 2, 2)");
});
