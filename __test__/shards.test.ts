import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fit, type FitOptions, ResNet, sgd } from "resnet-native";
import { expect, test } from "vitest";
import { digest, pictures, rejection } from "./pictures.js";

const options = { epochs: 2, batchSize: 20, optimizer: sgd({ lr: 0.02, momentum: 0.9 }) };

async function trained(more: FitOptions, threads = 1) {
  using model = new ResNet([[1, 8]], { numClasses: 4, seed: 3, threads });
  const history = await fit(model, { train: pictures(50), validation: pictures(12) }, { ...options, ...more });
  return { digest: await digest(model), losses: history.rows.map(({ loss }) => loss) };
}

test("a batch in shards trains as the whole one does, but for its last bits", async () => {
  const [whole, shards, threaded, one, apart] = [
    await trained({}),
    await trained({ shards: 4 }),
    await trained({ shards: 4 }, 2),
    await trained({ shards: 1, syncBatchNorm: false }),
    await trained({ shards: 4, syncBatchNorm: false }),
  ];
  expect(one).toEqual(whole);
  expect(threaded).toEqual(shards);
  expect(shards.digest).not.toBe(whole.digest);
  const distance = (losses: number[]) => Math.max(...losses.map((loss, epoch) => Math.abs(loss - whole.losses[epoch]!)));
  expect(distance(shards.losses)).toBeLessThan(1e-4);
  expect(distance(apart.losses)).toBeGreaterThan(1e-3);
});

test("a run goes on with the shards that it began with", async () => {
  const dir = mkdtempSync(join(tmpdir(), "resnet-native-"));
  const whole = await trained({ shards: 3 });
  await trained({ shards: 3, epochs: 1, checkpoint: { dir } });
  const refused = await rejection(trained({ shards: 2, resume: dir }));
  expect(refused).toMatchObject({ code: "ERR_CHECKPOINT", message: expect.stringMatching(/^resume: expected a checkpoint of a run with shards 2, got .* with 3$/) });
  expect(await rejection(trained({ resume: dir }))).toMatchObject({ message: expect.stringMatching(/of a run with shards none, got .* with 3$/) });
  expect(await trained({ shards: 3, resume: dir })).toEqual(whole);
});
