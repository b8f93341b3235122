import { type Batch, fit, ResNet, sgd, type Tensor, tensor, Trainer } from "resnet-native";
import { expect, test } from "vitest";
import { digest, pictures, rejection } from "./pictures.js";

const tiny = () => new ResNet([[1, 8]], { numClasses: 4, inChannels: 1 });

async function firstBatch(count = 16): Promise<{ images: Tensor; labels: Batch["labels"] }> {
  const { value } = await pictures(count).batches({ batchSize: count }).next();
  return value!;
}

test("steps of one's own are the steps of a fit", async () => {
  const optimizer = sgd({ lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 1e-4 });
  using fitted = tiny();
  await fit(fitted, pictures(64), { batchSize: 16, shuffle: false, optimizer });
  using stepped = tiny();
  const trainer = new Trainer(stepped, { optimizer });
  for await (const { images, labels } of pictures(64).batches({ batchSize: 16 })) await trainer.step(images, labels);
  expect(await digest(stepped)).toBe(await digest(fitted));
});

test("loss and accuracy are those before the update", async () => {
  using model = tiny();
  const { images, labels } = await firstBatch();
  const logits = await model.forward(images, { training: true });
  const { loss, accuracy } = await new Trainer(model).step(images, labels);
  expect(accuracy).toBe(model.accuracy(logits, labels));
  const rows = [...labels].map((label, i) => {
    const row = [...logits.data.subarray(i * 4, i * 4 + 4)];
    return Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0)) - row[label]!;
  });
  expect(loss).toBeCloseTo(rows.reduce((sum, row) => sum + row, 0) / rows.length, 5);
});

test("plain SGD moves each weight by its gradient times the learning rate", async () => {
  using model = tiny();
  const { images, labels } = await firstBatch();
  const before = await model.stateDict();
  const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.5 }) });
  expect((await trainer.gradients()).size).toBe(0);
  await trainer.step(images, labels);
  const [gradients, after] = [await trainer.gradients(), await model.stateDict()];
  expect([...gradients.keys()]).toEqual([...before.keys()].filter((name) => !name.includes("running")));
  for (const [name, { data, shape }] of gradients) {
    expect(shape).toEqual(before.get(name)!.shape);
    const moved = before.get(name)!.data.map((value, i) => Math.fround(value - 0.5 * data[i]!));
    for (const [i, value] of after.get(name)!.data.entries()) expect(value).toBeCloseTo(moved[i]!, 6);
  }
  expect(gradients.get("fc.bias")!.data.some((value) => value !== 0)).toBe(true);
});

test("two trainers of a model have optimisers of their own", async () => {
  const { images, labels } = await firstBatch();
  const run = async (fresh: boolean) => {
    using model = tiny();
    const optimizer = sgd({ momentum: 0.9 });
    const first = new Trainer(model, { optimizer });
    await first.step(images, labels);
    await (fresh ? new Trainer(model, { optimizer }) : first).step(images, labels);
    return await digest(model);
  };
  expect(await run(true)).not.toBe(await run(false));
});

test("a bad batch is refused and changes nothing", async () => {
  using model = tiny();
  const { images, labels } = await firstBatch();
  const trainer = new Trainer(model);
  const before = await digest(model);
  const nan = tensor(
    images.data.map(() => NaN),
    images.shape,
  );
  const steps = [
    [() => trainer.step(images, labels.subarray(1)), "ERR_SHAPE", /labels.*16.*15/],
    [
      () =>
        trainer.step(
          images,
          labels.map(() => 4),
        ),
      "ERR_LABEL",
      /4 classes, got 4/,
    ],
    [() => trainer.step(images, [-1]), "ERR_LABEL", /labels\[0\].*got -1/],
    [() => trainer.step(images, [0.5]), "ERR_LABEL", /labels\[0\].*got 0.5/],
    [() => trainer.step(nan, labels), "ERR_NON_FINITE_LOSS", /NaN/],
    [() => trainer.step(tensor([1, 2], [2]), [0, 1]), "ERR_SHAPE", /\(N, C, H, W\), got \[2\]/],
    [() => trainer.step({ data: new Float32Array(3), shape: [1, 1, 2, 2] }, [0]), "ERR_SHAPE", /4 values, got 3/],
    [() => trainer.step([1, 2] as never, [0]), "ERR_INVALID_ARGUMENT", /images: expected a tensor.*got \[1, 2\]/],
  ] as const;
  for (const [step, code, message] of steps) {
    expect(await rejection(step())).toMatchObject({
      name: "ResNetError",
      code,
      message: expect.stringMatching(message),
    });
  }
  expect(await digest(model)).toBe(before);
  expect((await trainer.step(images, labels)).loss).toBeGreaterThan(0);
});

test("images are copied when a step is asked for", async () => {
  const { images, labels } = await firstBatch();
  const run = async (scribble: boolean) => {
    using model = tiny();
    const own = tensor(images.data, images.shape);
    const step = new Trainer(model).step(own, labels);
    if (scribble) own.data.fill(NaN);
    await step;
    return await digest(model);
  };
  expect(await run(true)).toBe(await run(false));
});

test("two steps at the same time: the second is refused", async () => {
  using model = tiny();
  const { images, labels } = await firstBatch();
  const trainer = new Trainer(model);
  const [first, second] = await Promise.allSettled([trainer.step(images, labels), trainer.step(images, labels)]);
  expect(first.status).toBe("fulfilled");
  expect(second).toMatchObject({ status: "rejected", reason: { code: "ERR_BUSY" } });
});
