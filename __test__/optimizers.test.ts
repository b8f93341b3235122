import * as api from "resnet-native";
import { expect, test } from "vitest";
import * as optimizers from "../ts/optimizers.js";
import { collect, digest, pictures } from "./pictures.js";

test.each(Object.keys(optimizers))("%s has its name, stays as it was made, and makes updates", async (name) => {
  const optimizer = (api as unknown as Record<string, () => api.Optimizer>)[name]!();
  expect(optimizer.name).toBe(name);
  expect(Object.isFrozen(optimizer)).toBe(true);
  using model = new api.ResNet([[1, 8]], { numClasses: 4, inChannels: 1 });
  const before = await digest(model);
  const [batch] = await collect(pictures(16), { batchSize: 16 });
  await new api.Trainer(model, { optimizer }).step(batch!.images, batch!.labels);
  expect(await digest(model)).not.toBe(before);
});
