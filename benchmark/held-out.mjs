// Training images that recipes are chosen by, so that the test images stay unseen.

const COUNT = 5000;

/** All but the last images, and those. */
export function holdOut(train) {
  const first = train.length - COUNT;
  return { train: train.take(first), validation: train.subset(Array.from({ length: COUNT }, (_, i) => first + i)) };
}
