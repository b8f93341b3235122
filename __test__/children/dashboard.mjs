// Tells the address of a run's page, trains when it is told to, and has nothing more to do.
import { fit, fromArrays, globalAvgPool2d, linear, sequential } from "../../dist/index.js";

const data = fromArrays({ images: new Uint8Array(16 * 64), shape: [16, 1, 8, 8], labels: Array.from({ length: 16 }, (_, i) => i % 2) });
const told = new Promise((resolve) => process.stdin.once("data", resolve));
const run = fit(sequential([globalAvgPool2d(), linear(2)]), data, { epochs: 3, batchSize: 4, dashboard: true, onEpochBegin: ({ epoch }) => epoch === 2 && told });
process.stdout.write(`${await run.dashboard}\n`);
await run;
