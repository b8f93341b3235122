import { deviceInfo, fashionMnist, sgd, tensor, Trainer } from "../../index.js";
import { command } from "../command.js";
import { sizeOption } from "../images.js";
import { machineOptions, network, networkName, networkOptions } from "../network.js";
import { real, type Values, whole } from "../option.js";
import type { Screen } from "../screen.js";
import { median, timed } from "../timing.js";

const operands = { network: networkName("the network", "resnet18") };
const options = {
  ...networkOptions,
  ...sizeOption,
  batchSize: whole("images of a step", 32, 1, 4096),
  seconds: real("how long each of the three measurements takes", 2, 0.1, 600),
  ...machineOptions,
};

/** Measures this machine's speed. */
export default command({
  summary: "measures how fast a network trains and predicts on this machine, in some seconds",
  operands,
  options,
  examples: [
    ["bench", "ResNet-18 at 96x96"],
    ["bench resnet50 --size 224 --batch-size 8 --seconds 10", "a larger network, measured for longer"],
  ],
  run: measure,
});

async function measure(values: Values<typeof operands & typeof options>, screen: Screen): Promise<void> {
  const { flavor, size, device, precision, batchSize, seconds } = values;
  const { instructionSet, bf16, threads: usual } = deviceInfo().cpu;
  const threads = values.threads ?? usual;
  using model = network(values.network, { flavor, device, precision, threads, inChannels: 1, numClasses: 10 });
  const { train } = await fashionMnist({ source: "sample", resize: size });
  const { value: batch } = await train.batches({ batchSize }).next();
  const { images, labels } = batch!;
  const one = tensor(images.data.subarray(0, size * size), [1, 1, size, size]);
  const trainer = new Trainer(model, { optimizer: sgd({ lr: 0.001 }) });
  const time = async (what: string, call: () => Promise<unknown>) => {
    return median(await timed(seconds, call, (done) => screen.status.show(`Measuring ${what}  ${Math.round(done * 100)}%`)));
  };
  const training = batchSize / (await time("training", () => trainer.step(images, labels)));
  const inference = batchSize / (await time("inference", () => model.predict(images)));
  const latency = 1000 * (await time("latency", () => model.predict(one)));
  const used = await model.device();
  screen.record({ network: values.network, size, batchSize, device: used, precision, ...(used === "cpu" && precision === "bf16" && { bf16 }), threads, instructionSet, training, inference, latency });
  screen.print(`${values.network}, 1x${size}x${size}, batch ${batchSize}, ${used === "cpu" ? `${threads} threads, ${instructionSet}${precision === "bf16" ? `, bf16 by ${bf16}` : ""}` : `${used}, ${precision}`}; medians
training   ${training.toFixed(1)} images/s
inference  ${inference.toFixed(1)} images/s
one image  ${latency.toFixed(2)} ms`);
}
