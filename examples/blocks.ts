// Residual blocks on their own, as in d2l.ai 8.6.
import { Residual, sequential, tensor } from "resnet-native";

const x = tensor(Float32Array.from({ length: 4 * 3 * 6 * 6 }, Math.random), [4, 3, 6, 6]);
console.log((await new Residual(3).forward(x)).shape);
console.log((await new Residual(6, { use1x1Conv: true, strides: 2 }).forward(x)).shape);

const stage = sequential([new Residual(6, { use1x1Conv: true, strides: 2 }), new Residual(6)]);
console.log(stage.layerSummary([4, 3, 6, 6], { depth: "layers" }));
