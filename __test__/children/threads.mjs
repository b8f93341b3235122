// Uses more models than there may be threads, disposes of those that got one, and tries the others again; prints what came of each.
import { ResNet, tensor } from "../../dist/index.js";

const images = tensor(new Float32Array(64), [1, 1, 8, 8]);
const models = Array.from({ length: 40 }, () => new ResNet([[1, 4]], { numClasses: 3, threads: 1 }));
const outcome = (model) => model.predict(images).then(() => "served", ({ code }) => code);
const kinds = (outcomes) => [...new Set(outcomes)].toSorted();

const first = await Promise.all(models.map(outcome));
models.forEach((model, index) => first[index] === "served" && model.dispose());
// Their threads end by themselves.
await new Promise((resolve) => setTimeout(resolve, 300));
const second = await Promise.all(models.filter((_, index) => first[index] !== "served").map(outcome));
process.stdout.write(JSON.stringify({ first: kinds(first), second: kinds(second) }));
