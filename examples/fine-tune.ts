// Fine-tunes a saved model on other classes: a new head is trained alone while all else is frozen, then all of it, the lower layers at lower
// rates: node fine-tune.ts [FOLDER]. Here a small network that knows ten kinds of clothes learns what is worn where.
import { join } from "node:path";
import { adamw, CifarResNet, cosine, type Dataset, evaluate, fashionMnist, fit, fromArrays, loadModel, sgd } from "resnet-native";

const [folder = "."] = process.argv.slice(2);
const clothes = await fashionMnist({ source: "sample" });
const before = new CifarResNet({ depth: 8, numClasses: 10, seed: 42 });
await fit(before, { train: clothes.train.take(1024) }, { epochs: 2, batchSize: 32, optimizer: sgd({ lr: 0.05, momentum: 0.9 }) });
await before.save(join(folder, "clothes.safetensors"));

/** The same images with other labels: a few of them are enough. */
async function worn(data: Dataset): Promise<Dataset> {
  const parts = ["body", "legs", "feet", "hand"];
  const part = ["body", "legs", "body", "body", "body", "feet", "body", "feet", "hand", "feet"];
  for await (const { images, labels } of data.batches({ batchSize: data.length })) {
    const others = [...labels].map((label) => parts.indexOf(part[label]!));
    return fromArrays({ images: images.data, shape: images.shape, labels: others, classNames: parts });
  }
  throw new Error("there are no images");
}
const data = { train: await worn(clothes.train.take(128)), validation: await worn(clothes.validation.take(256)) };

const model = await loadModel(join(folder, "clothes.safetensors"), { numClasses: data.train.numClasses, seed: 1 });
const show = async (what: string) => {
  const { accuracy } = await evaluate(model, data.validation);
  console.log(`${what}: ${(100 * accuracy).toFixed(1)} % of the validation images`);
};
await show("with a new head");

const head = adamw({ lr: 0.01, groups: [{ layers: "fc" }, { frozen: true }] });
await fit(model, data, { epochs: 8, batchSize: 16, optimizer: head });
await show("the head trained");

// From the head backwards each block has 0.7 times the rate of the one behind it.
const all = adamw({ lr: 0.002, layerDecay: 0.7 });
await fit(model, data, { epochs: 4, batchSize: 16, optimizer: all, schedule: cosine() });
await show("all of it trained");

const { value: batch } = await data.validation.batches({ batchSize: 4 }).next();
const embeddings = await model.features(batch!.images);
console.log(`what enters the head for four images: ${embeddings.shape.join(" x ")} numbers`);
await model.save(join(folder, "worn.safetensors"));
