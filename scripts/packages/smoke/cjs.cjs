const { isMainThread, parentPort, Worker } = require("node:worker_threads");
const api = require("resnet-native");
const train = require("./train.cjs");

train(api).then((result) => {
  if (!isMainThread) return parentPort.postMessage(result);
  const worker = new Worker(__filename, { argv: process.argv.slice(2) });
  return worker.on("message", (inWorker) => console.log(JSON.stringify([result, inWorker])));
});
