import { isMainThread, parentPort, Worker } from "node:worker_threads";
import * as api from "resnet-native";
import train from "./train.cjs";

const result = await train(api);
if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) });
  worker.on("message", (inWorker) => console.log(JSON.stringify([result, inWorker])));
} else parentPort.postMessage(result);
