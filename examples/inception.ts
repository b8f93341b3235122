// Inception against residual blocks, exercise 1 of d2l.ai 8.6: what each costs.
import { GoogLeNet, Inception, Residual, ResNet18, tensor } from "resnet-native";

// Four branches side by side: 64 + 128 + 32 + 32 channels.
const x = tensor(Float32Array.from({ length: 192 * 12 * 12 }, Math.random), [1, 192, 12, 12]);
const inception = new Inception(64, [96, 128], [16, 32], 32);
console.log((await inception.forward(x)).shape);
console.log(inception.layerSummary(x.shape, { depth: "layers" }));

const residual = new Residual(256, { use1x1Conv: true });
console.log((await residual.forward(x)).shape);
console.log(residual.layerSummary(x.shape, { depth: "layers" }));

// The whole networks on the chapter's images.
for (const model of [new GoogLeNet(), new ResNet18()]) console.log(model.layerSummary([1, 1, 96, 96]));
