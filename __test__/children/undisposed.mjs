// Makes twelve ResNet-18s, uses each once and drops it; prints the most memory that it took, in times of what the first one took.
import { ResNet18, tensor } from "../../dist/index.js";

const images = tensor(new Float32Array(32 * 32), [1, 1, 32, 32]);
const before = process.memoryUsage.rss();
const sizes = [];
for (let count = 0; count < 12; count++) {
  await new ResNet18().predict(images);
  sizes.push(process.memoryUsage.rss() - before);
}
process.stdout.write((Math.max(...sizes) / sizes[0]).toFixed(2));
