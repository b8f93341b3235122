// Which failures of a run Node reports as unhandled.
import { fit, fromArrays, ResNet } from "../../dist/index.js";

const reported = [];
process.on("unhandledRejection", (error) => reported.push(error.message));
const data = fromArrays({ images: new Uint8Array(8 * 256), shape: [8, 1, 16, 16], labels: new Uint8Array(8) });
const failing = (name) => {
  const onStep = () => {
    throw new Error(name);
  };
  return fit(new ResNet([[1, 8]]), data, { onStep });
};
const turn = () => new Promise((resolve) => setTimeout(resolve, 200));

failing("ignored");
await turn();
await failing("awaited").catch(() => {});
try {
  for await (const event of failing("iterated")) void event;
} catch (error) {
  process.stdout.write(`${error.message} `);
}
const run = failing("left");
for await (const event of run) if (event) break;
await turn();
await fit("no model", data).catch(() => {});
await turn();
process.stdout.write(JSON.stringify(reported));
