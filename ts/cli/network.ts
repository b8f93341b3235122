import {
  CifarResNet,
  type Device,
  type Flavor,
  GoogLeNet,
  type Model,
  type ModelOptions,
  ResNet,
  type ResNetName,
  resNetNames,
} from "../index.js";
import { Misuse } from "./failure.js";
import { choice, type Option, whole } from "./option.js";

/** He et al.'s networks for small images, by their number of layers. */
const CIFAR = [20, 32, 44, 56, 110];
const NAMES: readonly string[] = [...resNetNames, ...CIFAR.map((depth) => `cifar_resnet${depth}`), "googlenet"];
const EXPECTED = "a named network such as resnet18 or cifar_resnet20";

/** Options of a network that is made by name. */
export const networkOptions = {
  flavor: choice(
    "whose definition of the network; the default depends on the network",
    "FLAVOR",
    ["d2l", "torchvision"],
    undefined,
  ),
};

const device: Option<Device> = {
  help: "where to compute: auto (a GPU that can be used, else the CPU), cpu, cuda, or cuda: and a GPU's number",
  value: "DEVICE",
  fallback: "auto",
  expected: '"auto", "cpu", "cuda" or "cuda:" and the number of a GPU',
  accepts: (name) => /^(auto|cpu|cuda(:\d{1,3})?)$/.test(name as string),
  convert: (text) => text.toLowerCase(),
};

/** Options of where a network computes. */
export const machineOptions = {
  device,
  precision: choice("how convolutions round; on a CPU tf32 is fp32", "PRECISION", ["tf32", "fp32", "bf16"], "tf32"),
  threads: whole("threads of the CPU, by default all cores, less one where there are more than two", undefined, 1, 1024),
};

/** The name of a network, as an option or an operand. */
export function networkName<T extends string | undefined>(help: string, fallback: T) {
  return choice<string, T>(help, "NETWORK", NAMES, fallback, EXPECTED);
}

/** The network of a name. */
export function network(
  name: string,
  { flavor, ...options }: ModelOptions & { flavor: Flavor | undefined; numClasses: number },
): Model {
  if (name === "googlenet") {
    if (flavor === "torchvision") throw new Misuse("--flavor: expected d2l for googlenet, got torchvision");
    return new GoogLeNet(options);
  }
  const [, depth] = /^cifar_resnet(\d+)$/.exec(name) ?? [];
  if (depth !== undefined) return new CifarResNet({ depth: Number(depth), flavor, ...options });
  return new ResNet(name as ResNetName, { flavor, ...options });
}
