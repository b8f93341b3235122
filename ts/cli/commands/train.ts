import { basename, resolve } from "node:path";
import {
  type Augmentation,
  cosine,
  type Dataset,
  erasing,
  flip,
  imageFolder,
  type ImageFolder,
  type LoadReport,
  type Model,
  oneCycle,
  randomCrop,
  type ResNetError,
  type Schedule,
  sgd,
  trivialAugment,
  type Unreadable,
  warmup,
} from "../../index.js";
import { checkFiles, checkpointing, checkpointOptions, placesOf, wordsToGoOn } from "../checkpointing.js";
import { command } from "../command.js";
import { counted } from "../counted.js";
import { Failure, Misuse } from "../failure.js";
import { checkFolder, folderOperand, passedOver, somePicture } from "../folder.js";
import { PROGRAM } from "../help.js";
import { dashboardOf, dashboardOptions } from "../dashboard-options.js";
import { logOf, logOption } from "../logging.js";
import { machineOptions, network, networkName, networkOptions } from "../network.js";
import { choice, flag, oneLine, type Option, real, shellWord, text, typedAgain, type Values, whole } from "../option.js";
import { reportOption } from "../reporting.js";
import type { Screen } from "../screen.js";
import { isOther, sharing, sharingOptions, takePlace } from "../sharing.js";
import { loadOrStop, trainAndSave } from "../training.js";

/** Ways to change pictures at random, from none to strong, for pictures of a size. */
const AUGMENT: Readonly<Record<string, (size: number) => Augmentation[]>> = {
  none: () => [],
  standard: (size) => [flip(), randomCrop({ padding: Math.max(1, Math.round(size / 8)), mode: "reflect" })],
  strong: (size) => [...AUGMENT["standard"]!(size), trivialAugment(), erasing({ p: 0.25 })],
};

/** How the learning rate changes, in runs of so many epochs. */
const SCHEDULES: Readonly<Record<string, (epochs: number) => Schedule | undefined>> = {
  constant: () => undefined,
  cosine: (epochs) => (epochs > WARM_UP ? warmup({ epochs: WARM_UP, followedBy: cosine() }) : cosine()),
  "one-cycle": () => oneCycle(),
};
/** Epochs in which the rate rises before it falls as a cosine. */
const WARM_UP = 2;

/** Mean and deviation of ImageNet's grey pictures; those of colours are the library's. Weights from elsewhere want them. */
const GREY = { mean: [0.449], std: [0.226] };
/** Share of each class that is kept for validation where the folder has no such part. */
const SPLIT = 0.2;
/** Files left out that are told one by one. */
const TOLD = 10;
/** Characters of all classes' names together that are shown. */
const SHOWN = 80;

const operands = { folder: folderOperand };
const options = {
  network: networkName("the network", "resnet18"),
  ...networkOptions,
  weights: text("file of weights to begin with, safetensors or .pth; another head and other input channels are left out", "FILE", undefined, "a file"),
  epochs: whole("times that all pictures are gone through", 20, 1, 1_000_000),
  batchSize: whole("pictures of an update", 32, 1, 60_000),
  lr: real("learning rate of stochastic gradient descent, the largest of its schedule", 0.02, 0),
  schedule: choice("how the learning rate changes: it stays, it rises for two epochs and falls as a cosine, or rises for a third of the run and falls", "SCHEDULE", ["constant", "cosine", "one-cycle"], "cosine"),
  momentum: real("weight of the previous update", 0.9, 0, 1),
  weightDecay: real("weight of the parameters in the gradient", 0.0005, 0),
  size: whole("height and width that pictures are brought to", 96, 8, 1024),
  fit: choice("what becomes of other aspect ratios: borders, cut off, or stretched", "FIT", ["pad", "crop", "stretch"], "pad"),
  grey: flag("takes pictures as grey ones"),
  augment: choice("how pictures are changed at random: flip and shift; strong also colours, shapes and holes", "PRESET", ["none", "standard", "strong"], "standard"),
  ema: real("decay of an average of the weights, which then is what is validated and saved; 0 for none", 0, 0, 0.999_999),
  earlyStopping: whole("epochs in a row without a smaller validation loss that end the training early", undefined, 1),
  split: { ...real(`share of each class that is kept for validation, where the folder has none; default ${SPLIT}`, 0, 0.01, 0.9), fallback: undefined } as Option<
    number | undefined
  >,
  labels: choice("of a list: whether each picture is of one class, or of any number (cat|dog)", "KIND", ["single", "multi"], "single"),
  skipUnreadable: flag("leaves out what is no picture, and counts it, instead of stopping"),
  seed: whole("seed of weights, split, order and changes: the same seed gives the same bits", 0, 0),
  output: { ...text("the model's file, by default NETWORK-FOLDER.safetensors; a chart is put beside it", "FILE", undefined, "a file"), short: "o", isOnce: true },
  ...reportOption,
  ...logOption,
  ...dashboardOptions,
  ...checkpointOptions,
  ...sharingOptions,
  force: flag("replaces files that are there"),
  ...machineOptions,
};
type Settings = Values<typeof operands & typeof options>;

/** Trains a classifier of one's own pictures. */
export default command({
  summary: "trains a classifier of your own pictures, in a folder for each class, and saves its best epoch",
  operands,
  options,
  examples: [
    ["train pictures/", "ResNet-18 at 96x96, a fifth of each class kept for validation"],
    ["train pictures/ --network resnet50 --size 224 --weights resnet50.pth --lr 0.005", "goes on from weights that were trained elsewhere"],
    ["train pictures/ --augment strong --epochs 100 --output birds.safetensors", "for few pictures, and patience"],
    ["train photos.csv --labels multi", "each picture of any number of classes: a column label with names such as cat|dog"],
    ["train pictures/ --report pictures.html", "also writes all there is to know of the training as one page: mistakes, confusion, curves"],
    ["train fashion-mnist --help", "a data set for a first try, which has options of its own"],
  ],
  run: train,
});

async function train(settings: Settings, screen: Screen): Promise<number> {
  takePlace(settings, screen);
  const folder = settings.folder!;
  const { name, flavor } = named(settings);
  const subject = basename(resolve(folder)) || "pictures";
  const output = settings.output ?? `${name}-${subject.replace(/\.(csv|jsonl)$/i, "")}.safetensors`;
  await checkFolder(folder);
  // Others need not see the first one's files.
  if (!isOther(settings)) await checkFiles(settings, output);
  screen.status.show(`Looking at ${oneLine(folder)}`);
  const data = await loadOrStop(() => pictures(folder, settings, screen), screen);
  if (data === undefined) return screen.interrupt.code!;
  const { seed, device, precision, threads, grey } = settings;
  const { numClasses } = data.train;
  using model = network(name, { flavor, seed, device, precision, threads, inChannels: grey ? 1 : 3, numClasses });
  const report = settings.weights ? await model.loadWeights(settings.weights, { newHead: true, adaptInput: true }) : undefined;
  showStart(settings, model, data, report, screen);
  const { epochs, batchSize, lr, schedule, momentum, weightDecay, augment, size, ema, earlyStopping: patience } = settings;
  const course = { ...(ema > 0 && { ema }), ...(patience && { earlyStopping: { patience } }), ...checkpointing(settings), ...sharing(settings) };
  const optimizer = sgd({ lr, momentum, nesterov: momentum > 0, weightDecay });
  const changing = SCHEDULES[schedule]!(epochs);
  const fitting = { epochs, batchSize, optimizer, seed, augment: AUGMENT[augment]!(size), ...(changing && { schedule: changing }), ...course };
  const title = `${name} on ${oneLine(subject)}`;
  const dashboard = dashboardOf(settings, title, screen);
  const goOn = wordsToGoOn(`train ${shellWord(folder)}`, options, settings);
  const { isSaved, exit } = await trainAndSave({ model, data, options: { ...fitting, dashboard, onEvent: logOf(settings.log) }, again: goOn, output, report: settings.report, title, keep: "best" }, screen);
  if (!isSaved) return exit;
  // They were pictures when the training began.
  for (const line of leftOut(data.train.unreadable)) screen.print(`Left out: ${line}`);
  const again = typedAgain(machineOptions, settings);
  const apart = data.apart ? ` --split ${settings.split ?? SPLIT}${typedAgain({ seed: options.seed }, settings)}` : "";
  const like = `${apart}${typedAgain({ skipUnreadable: options.skipUnreadable }, settings)}`;
  const picture = await somePicture(folder, data.skipped);
  if (picture) screen.print(`To try it: ${PROGRAM} predict ${shellWord(output)} ${shellWord(picture)}${again}`);
  screen.print(`To measure it class by class: ${PROGRAM} evaluate ${shellWord(output)} ${shellWord(folder)}${like} --by-class${again}`);
  return exit;
}

/** The first of the files that were left out, and how many there are. */
function leftOut({ count, files }: Unreadable): string[] {
  const told = files.slice(0, TOLD).map(({ path, got }) => `${oneLine(path)}, ${oneLine(got)}`);
  return count > TOLD ? [...told, `${count - TOLD} more`] : told;
}

/** The network's name, and torchvision's flavor where that is left open: weights from elsewhere have it. */
function named({ network, flavor }: Settings) {
  return { name: network, flavor: flavor ?? (/^(resnet|wide)/.test(network) ? ("torchvision" as const) : undefined) };
}

/** The folder's pictures, and whether those for validation were set apart here. */
async function pictures(
  folder: string,
  { size, fit, grey, split, labels, skipUnreadable, seed }: Settings,
  screen: Screen,
): Promise<ImageFolder & { readonly apart: boolean }> {
  const { signal } = screen.interrupt;
  const normalise = grey ? GREY : "imagenet";
  const given = { size, fit, channels: grey ? 1 : 3, normalise, seed, labels, onError: skipUnreadable ? "skip" : "throw", signal } as const;
  // What is skipped must not count in what is told of the others.
  const data = await imageFolder(folder, { ...given, verify: skipUnreadable });
  if (data.validation) {
    if (split !== undefined) throw new Misuse(`--split: expected none for a folder with pictures for validation of its own, got ${split}`);
    return { ...data, apart: false };
  }
  try {
    return { ...data.train.split({ fraction: split ?? SPLIT, seed }), skipped: data.skipped, apart: true };
  } catch (cause) {
    // There is no class from which a picture can be spared.
    if ((cause as ResNetError).code !== "ERR_INVALID_ARGUMENT") throw cause;
    const expected = "expected two pictures or more in a class, or pictures for validation in a folder val beside train";
    throw new Failure("ERR_DATA_NOT_FOUND", `FOLDER: ${expected}, got ${folder} with neither`);
  }
}

function showStart(settings: Settings, model: Model, data: ImageFolder, report: LoadReport | undefined, screen: Screen): void {
  const { folder, network, size, fit, epochs, batchSize, lr, schedule, momentum, weightDecay, augment, seed, weights, ema, earlyStopping } = settings;
  const { train, skipped } = data;
  const validation = data.validation!;
  const parameters = model.numParameters;
  const classes = train.classNames ?? [];
  const images = { folder, train: train.length, validation: validation.length, classes, size, fit, skipped };
  screen.record({ type: "start", network, parameters, images, epochs, batchSize, lr, schedule, momentum, weightDecay, augment, seed, weights, ema, earlyStopping, ...placesOf(settings) });
  const seen = new Set(labelsIn(validation));
  const unseen = classes.filter((_, label) => !seen.has(label));
  const lines = [
    `${oneLine(folder!)}: ${counted(classes.length, "class", "classes")} (${listed(classes)})`,
    `  ${counted(train.length, "picture")} to train on, ${validation.length.toLocaleString("en")} for validation, at ${size}x${size} (${fit})`,
    passedOver(skipped) && `  ${passedOver(skipped)}`,
    ...leftOut({ count: skipped.unreadable.length, files: skipped.unreadable }).map((line) => `    ${line}`),
    unseen.length > 0 && `  no picture for validation: ${listed(unseen)}`,
    `  ${chance(train, validation)}`,
    `${network}, ${parameters.toLocaleString("en")} parameters, seed ${seed}`,
    report && `  begins with ${weights}${report.kept.length > 0 ? `, but for ${report.kept.join(", ")}` : ""}`,
    `  ${counted(epochs, "epoch")}, batch ${batchSize}, SGD, learning rate ${lr} (${schedule}), momentum ${momentum}, weight decay ${weightDecay}, augmentation ${augment}`,
    ema > 0 && `  averages of the weights, decay ${ema}, are validated and saved`,
    earlyStopping !== undefined && `  ends early after ${counted(earlyStopping, "epoch")} in a row without a smaller validation loss`,
  ];
  screen.print(`${lines.filter(Boolean).join("\n")}\n`);
}

/** Names, as many as a line has room for. */
function listed(names: readonly string[]): string {
  let room = SHOWN;
  const fitting = names.map(oneLine).filter((name, i) => (room -= name.length) >= 0 || i === 0);
  const more = names.length - fitting.length;
  return `${fitting.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** The classes of all samples, one after the other. */
function labelsIn({ labels, labelKind, numClasses }: Dataset): number[] {
  if (labelKind === "single") return [...labels];
  return [...labels].flatMap((value, i) => (value === 1 ? [i % numClasses] : []));
}

/** What there is without having learnt anything. */
function chance(train: Dataset, validation: Dataset): string {
  if (train.labelKind === "multi") {
    const share = validation.labels.filter((label) => label === 1).length / validation.labels.length;
    return `labels are there or not: always guessing none has a validation accuracy of ${(1 - share).toFixed(4)}`;
  }
  const counts: number[] = [];
  for (const label of train.labels) counts[label] = (counts[label] ?? 0) + 1;
  const guessed = counts.reduce((best, count, label) => (count > (counts[best] ?? 0) ? label : best), 0);
  const right = [...validation.labels].filter((label) => label === guessed).length / validation.length;
  return `always guessing ${oneLine(train.classNames![guessed]!)}, the most frequent class, has a validation accuracy of ${right.toFixed(4)}`;
}
