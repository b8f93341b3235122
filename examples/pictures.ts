// A classifier of your own pictures, in a folder for each class: pictures.ts FOLDER [MODEL]
import { calibrate, CifarResNet, fit, flip, imageFolder, loadModel, randomCrop, sgd } from "resnet-native";

const [folder = "pictures", file = "pictures.safetensors"] = process.argv.slice(2);
// For photographs: size 96 or 224, and ResNet18({ flavor: "torchvision" }), which takes weights that were trained elsewhere.
const { train, validation, skipped } = await imageFolder(folder, { size: 32, split: 0.2, normalise: "imagenet", onError: "skip" });
const { numClasses, classNames = [] } = train;
console.log(`${train.length} pictures of ${classNames.join(", ")} to train on, ${skipped.unreadable.length} files that are none`);

const model = new CifarResNet({ depth: 20, numClasses, seed: 1 });
const augment = [flip(), randomCrop({ padding: 4, mode: "reflect" })];
const optimizer = sgd({ lr: 0.02, momentum: 0.9, nesterov: true, weightDecay: 5e-4 });
const history = await fit(model, { train, validation: validation! }, { epochs: 4, batchSize: 8, optimizer, augment });
console.log(history);

// So that of the pictures that it is 90 % sure of 90 % are right.
await calibrate(model, validation!);
// The file also has the classes' names, and how a picture is brought to the network's size.
await model.save(file);

// A path, bytes of a file, or decoded pixels do as well: await loaded.classify("photo.jpg")
const loaded = await loadModel(file);
const { value: batch } = await validation!.batches({ batchSize: 6 }).next();
const found = await loaded.classify(batch!.images, { top: 1 });
for (const [i, [best]] of found.entries()) {
  console.log(`${classNames[batch!.labels[i]!]}: ${best!.name}, ${(100 * best!.probability).toFixed(0)} %`);
}
