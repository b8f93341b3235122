// The run whose checkpoint is kept for every version of the format: each gives the same options and data, and goes on from the kept one.

const side = 8;

/** Model, data and options of the run, made with the library that is given. */
export function keptRun({ adamw, batchNorm2d, conv2d, cosine, flip, fromArrays, globalAvgPool2d, linear, mixup, relu, sequential }) {
  const images = Uint8Array.from({ length: 30 * side * side }, (_, i) => (i * 31 + Math.floor(i / 7) * 17) % 251);
  const { train, validation } = fromArrays({ images, shape: [30, 1, side, side], labels: Uint32Array.from({ length: 30 }, (_, i) => i % 3) }).split({ fraction: 0.2 });
  const layers = [conv2d(3, { kernelSize: 3, bias: false }), batchNorm2d(), relu(), globalAvgPool2d(), linear(3)];
  const options = {
    epochs: 3,
    batchSize: 4,
    accumulate: 2,
    optimizer: adamw({ lr: 0.01, groups: [{ layers: "4", lrFactor: 2 }] }),
    schedule: cosine(),
    clipNorm: 1,
    labelSmoothing: 0.1,
    augment: [flip(), mixup()],
    ema: 0.9,
    validateEvery: { steps: 2 },
    restoreBest: true,
  };
  return { model: sequential(layers, { inChannels: 1, seed: 5 }), data: { train, validation }, options };
}
