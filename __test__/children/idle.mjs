// Models that have worked and now rest must not keep the process.
import { fashionMnist, ResNet, tensor } from "../../dist/index.js";

const model = new ResNet([[1, 8]]);
await model.predict(tensor(new Float32Array(256), [1, 1, 16, 16]));
const { train } = await fashionMnist({ source: "sample" });
const batches = train.batches();
await batches.next();
process.stdout.write("idle");
