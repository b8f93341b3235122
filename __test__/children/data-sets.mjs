// Makes sixty data sets of 32 MiB and drops each; prints the most memory that they took, in times of one.
import { fromArrays } from "../../dist/index.js";

const images = new Uint8Array(32 * 2 ** 20).fill(1);
const before = process.memoryUsage.rss();
const sizes = [];
for (let count = 0; count < 60; count++) {
  const data = fromArrays({ images, shape: [32, 1, 1024, 1024], labels: new Uint8Array(32) });
  data.split().train.take(3).concat(data);
  sizes.push(process.memoryUsage.rss() - before);
  // Finalisers run in turns of the loop after a collection.
  await new Promise(setImmediate);
}
process.stdout.write((Math.max(...sizes) / images.length).toFixed(2));
