// One short training and one prediction with an installed package; `api` is all that it exports.

module.exports = async function train(api) {
  const { train: sample } = await api.fashionMnist({ source: "sample" });
  const { value } = await sample.batches({ batchSize: 64, seed: 1 }).next();
  const data = api.fromArrays({ images: value.images.data, shape: value.images.shape, labels: value.labels });
  const model = new api.ResNet([[1, 8]], { numClasses: 10, seed: 1 });
  const history = await api.fit(model, data, { epochs: 3, batchSize: 16, optimizer: api.sgd({ lr: 0.05 }) });
  const { data: logits, shape } = await model.predict(value.images);
  return { losses: history.rows.map((row) => row.loss), shape, logit: logits[0], chart: (await api.plot(history)).length };
};
