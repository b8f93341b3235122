import { command } from "../command.js";
import { sizeOption } from "../images.js";
import { network, networkName, networkOptions } from "../network.js";
import { choice, type Values, whole } from "../option.js";
import type { Screen } from "../screen.js";

const operands = { network: networkName("the network", undefined) };
const options = {
  ...networkOptions,
  ...sizeOption,
  channels: whole("channels of the images", 1, 1, 2 ** 20),
  classes: whole("number of classes", 10, 1, 2 ** 20),
  depth: choice("how deep to look", "DEPTH", ["stages", "layers"], "stages"),
};

/** Shows what a network is made of. */
export default command({
  summary: "shows a network's stages or layers: output shapes, parameters, multiply-adds and activations of one image",
  operands,
  options,
  examples: [
    ["summary resnet18", "the network of d2l.ai 8.6, stage by stage"],
    ["summary resnet50 --flavor torchvision --size 224 --channels 3 --classes 1000", "torchvision's network for ImageNet"],
    ["summary cifar_resnet20 --size 32 --channels 3 --depth layers", "layer by layer"],
  ],
  run: show,
});

async function show(values: Values<typeof operands & typeof options>, screen: Screen): Promise<void> {
  const { flavor, size, channels, classes, depth } = values;
  using model = network(values.network!, { flavor, inChannels: channels, numClasses: classes });
  const shape = [1, channels, size, size];
  const layers = model.layerSummary(shape, { depth });
  screen.record({ network: values.network, shape, parameters: model.numParameters, macs: model.macs(shape), layers });
  screen.print(layers.toString());
}
