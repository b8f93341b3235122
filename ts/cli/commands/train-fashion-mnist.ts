import { type FashionMnist, type Model, sgd } from "../../index.js";
import { checkFiles, checkpointing, checkpointOptions, placesOf, wordsToGoOn } from "../checkpointing.js";
import { command } from "../command.js";
import { counted } from "../counted.js";
import { PROGRAM } from "../help.js";
import { imageOptions, loadImages } from "../images.js";
import { dashboardOf, dashboardOptions } from "../dashboard-options.js";
import { logOf, logOption } from "../logging.js";
import { machineOptions, network, networkName, networkOptions } from "../network.js";
import { flag, real, shellWord, text, typedAgain, type Values, whole } from "../option.js";
import { reportOption } from "../reporting.js";
import type { Screen } from "../screen.js";
import { isOther, sharing, sharingOptions, takePlace } from "../sharing.js";
import { loadOrStop, trainAndSave } from "../training.js";

const options = {
  network: networkName("the network", "resnet18"),
  ...networkOptions,
  epochs: whole("times that all images are gone through", 10, 1, 1_000_000),
  batchSize: whole("images of an update", 128, 1, 60_000),
  lr: real("learning rate of stochastic gradient descent", 0.01, 0),
  momentum: real("weight of the previous update", 0, 0, 1),
  weightDecay: real("weight of the parameters in the gradient", 0, 0),
  seed: whole("seed of weights and order: the same seed gives the same bits", 0, 0),
  ...imageOptions,
  output: { ...text("the model's file, by default NETWORK-fashion-mnist.safetensors; a chart is put beside it", "FILE", undefined, "a file"), short: "o", isOnce: true },
  ...reportOption,
  ...logOption,
  ...dashboardOptions,
  ...checkpointOptions,
  ...sharingOptions,
  force: flag("replaces files that are there"),
  ...machineOptions,
};
type Settings = Values<typeof options>;

/** Trains a network on Fashion-MNIST. */
export default command({
  summary: "trains a network on Fashion-MNIST and saves it with a chart of its training; by default as d2l.ai 8.6 does",
  operands: {},
  options,
  examples: [
    ["train fashion-mnist --sample --epochs 3 --batch-size 32 --momentum 0.9", "a minute or two, on the package's own images"],
    ["train fashion-mnist", "the recipe of d2l.ai 8.6: ResNet-18, 96x96, 10 epochs"],
    ["train fashion-mnist --network cifar_resnet20 --size 28 --output small.safetensors", "a small network, images as they are"],
    ["train fashion-mnist --json > training.jsonl", "a line of JSON for the start, each epoch and the end"],
  ],
  run: train,
});

async function train(settings: Settings, screen: Screen): Promise<number> {
  takePlace(settings, screen);
  const output = settings.output ?? `${settings.network}-fashion-mnist.safetensors`;
  const { flavor, seed, device, precision, threads, epochs, batchSize, lr, momentum, weightDecay } = settings;
  using model = network(settings.network, { flavor, seed, device, precision, threads, inChannels: 1, numClasses: 10 });
  // Others need not see the first one's files.
  if (!isOther(settings)) await checkFiles(settings, output);
  const data = await loadOrStop(() => loadImages(settings, screen, screen.interrupt.signal), screen);
  if (data === undefined) return screen.interrupt.code!;
  showStart(settings, model, data, screen);
  const fitting = { epochs, batchSize, optimizer: sgd({ lr, momentum, weightDecay }), ...checkpointing(settings), ...sharing(settings) };
  const title = `${settings.network} on Fashion-MNIST`;
  const dashboard = dashboardOf(settings, title, screen);
  const again = wordsToGoOn("train fashion-mnist", options, settings);
  const { isSaved, exit } = await trainAndSave({ model, data, options: { ...fitting, dashboard, onEvent: logOf(settings.log) }, again, output, report: settings.report, title, keep: "last" }, screen);
  if (isSaved) screen.print(`To measure it: ${PROGRAM} evaluate ${shellWord(output)}${typedAgain({ ...imageOptions, ...machineOptions }, settings)}`);
  return exit;
}

function showStart(settings: Settings, model: Model, data: FashionMnist, screen: Screen): void {
  const { source, train, validation } = data;
  const { network, size, epochs, batchSize, lr, momentum, weightDecay, seed } = settings;
  const parameters = model.numParameters;
  const images = { source, train: train.length, validation: validation.length, size };
  screen.record({ type: "start", network, parameters, images, epochs, batchSize, lr, momentum, weightDecay, seed, ...placesOf(settings) });
  const count = (number: number) => number.toLocaleString("en");
  const decay = weightDecay > 0 ? `, weight decay ${weightDecay}` : "";
  screen.print(`Fashion-MNIST from ${source === "sample" ? "the sample in this package" : source}
  ${count(train.length)} training images, ${count(validation.length)} for validation, at ${size}x${size}
${network}, ${count(parameters)} parameters, seed ${seed}
  ${counted(epochs, "epoch")}, batch ${batchSize}, SGD, learning rate ${lr}, momentum ${momentum}${decay}
`);
}
