import { type FashionMnist, fit, History, type Model, plot, sgd } from "../../index.js";
import { command } from "../command.js";
import { EXIT, Failure } from "../failure.js";
import { PROGRAM } from "../help.js";
import { imageOptions, loadImages } from "../images.js";
import { machineOptions, network, networkName, networkOptions } from "../network.js";
import { flag, real, shellWord, text, typedAgain, type Values, whole } from "../option.js";
import { Progress } from "../progress.js";
import type { Screen } from "../screen.js";
import { chartBeside, checkTargets, replace } from "../target.js";

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
  output: text(
    "the model's file, by default NETWORK-fashion-mnist.safetensors; a chart is put beside it",
    "FILE",
    undefined,
    "a file",
  ),
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
  const output = settings.output ?? `${settings.network}-fashion-mnist.safetensors`;
  const { flavor, seed, device, precision, threads } = settings;
  const { signal } = screen.interrupt;
  using model = network(settings.network, { flavor, seed, device, precision, threads, inChannels: 1, numClasses: 10 });
  await checkTargets([output, chartBeside(output)], settings.force);
  let data;
  try {
    data = await loadImages(settings, screen, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    screen.record({ type: "end", status: "interrupted" });
    screen.print("Stopped before training; nothing is saved.");
    return screen.interrupt.code!;
  }
  showStart(settings, model, data, screen);
  const began = performance.now();
  const history = await conduct(settings, model, data, output, screen);
  screen.status.clear();
  // A signal that comes later finds nothing to stop.
  const stopped = signal.aborted;
  if (stopped) screen.print("Stopped: the weights are those of the last whole step.");
  await model.save(output);
  const chart = history.rows.length > 0 ? chartBeside(output) : undefined;
  if (chart) {
    const drawn = await plot(history, { title: `${settings.network} on Fashion-MNIST` });
    await replace(chart, drawn).catch(({ message }: Error) => {
      throw new Failure("ERR_IO", `cannot write the chart ${chart}: ${message}; the model is saved to ${output}`);
    });
  }
  const status = stopped ? "interrupted" : "finished";
  const seconds = (performance.now() - began) / 1000;
  screen.record({ type: "end", status, epochs: history.rows.length, seconds, output, chart });
  screen.print(`\nSaved to ${output}${chart ? `; losses and accuracy by epoch drawn in ${chart}` : ""}`);
  screen.print(`To measure it: ${PROGRAM} evaluate ${shellWord(output)}${typedAgain({ ...imageOptions, ...machineOptions }, settings)}`);
  return stopped ? screen.interrupt.code! : EXIT.success;
}

/** Trains; what an interrupt leaves is a result too. */
async function conduct(
  { epochs, batchSize, lr, momentum, weightDecay }: Settings,
  model: Model,
  data: FashionMnist,
  output: string,
  screen: Screen,
): Promise<History> {
  const { signal } = screen.interrupt;
  const progress = new Progress(epochs, screen.status, (line) => screen.print(line));
  const optimizer = sgd({ lr, momentum, weightDecay });
  // Whatever happens later, the epochs that have ended are saved.
  const run = fit(model, data, { epochs, batchSize, optimizer, signal, onEpochEnd: () => model.save(output) });
  try {
    for await (const event of run) {
      progress.show(event);
      if (event.type === "epoch") screen.record(event);
    }
    return await run;
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    return (error as { history?: History }).history ?? new History();
  }
}

function showStart(settings: Settings, model: Model, data: FashionMnist, screen: Screen): void {
  const { source, train, validation } = data;
  const { network, size, epochs, batchSize, lr, momentum, weightDecay, seed } = settings;
  const parameters = model.numParameters;
  const images = { source, train: train.length, validation: validation.length, size };
  screen.record({ type: "start", network, parameters, images, epochs, batchSize, lr, momentum, weightDecay, seed });
  const count = (number: number) => number.toLocaleString("en");
  const decay = weightDecay > 0 ? `, weight decay ${weightDecay}` : "";
  screen.print(`Fashion-MNIST from ${source === "sample" ? "the sample in this package" : source}
  ${count(train.length)} training images, ${count(validation.length)} for validation, at ${size}x${size}
${network}, ${count(parameters)} parameters, seed ${seed}
  ${epochs} epochs, batch ${batchSize}, SGD, learning rate ${lr}, momentum ${momentum}${decay}
`);
}
