// node accuracy.mjs DEVICE PRECISION EPOCHS [IMAGES]: trains ResNet-18 on the carried sample; a line of JSON for each epoch.
import { fashionMnist, fit, ResNet18, sgd } from "./package/dist/index.js";

const [device, precision, epochs, images] = process.argv.slice(2);
const { train, validation } = await fashionMnist({ source: "sample", resize: [96, 96] });
const few = (data) => (images ? data.take(Number(images)) : data);
const model = new ResNet18({ seed: 1, device, precision });
const options = { epochs: Number(epochs), batchSize: 128, optimizer: sgd({ lr: 0.05 }), seed: 1 };
const history = await fit(model, { train: few(train), validation: few(validation) }, options);
const used = await model.device();
for (const row of history.rows) console.log(JSON.stringify({ device: used, precision, ...row }));
