// One short training and one prediction with an installed package; `api` is all that it exports. With --deep the network is a ResNet-152.

module.exports = async function train(api) {
  const isDeep = process.argv.includes("--deep");
  const { train: sample } = await api.fashionMnist({ source: "sample" });
  const { value } = await sample.batches({ batchSize: isDeep ? 8 : 64, seed: 1 }).next();
  const data = api.fromArrays({ images: value.images.data, shape: value.images.shape, labels: value.labels });
  const model = isDeep ? new api.ResNet152({ numClasses: 10, seed: 1 }) : new api.ResNet([[1, 8]], { flavor: "torchvision", numClasses: 10, seed: 1 });
  const history = await api.fit(model, data, { epochs: 3, batchSize: 16, optimizer: api.sgd({ lr: isDeep ? 0.0001 : 0.05 }) });
  await model.save("model.safetensors");
  const { data: logits, shape } = await (await api.loadModel("model.safetensors")).predict(value.images);
  return { losses: history.rows.map((row) => row.loss), shape, logits: [...logits], chart: (await api.plot(history)).length };
};
