/** Where a step stands in the run, in epochs, and what it told: loss, accuracy, learning rate, images a second. */
export type Point = readonly [place: number, loss: number, accuracy: number, lr: number, imagesPerSecond: number];

/** Points up to which a curve grows before it is made half as fine. */
const MOST = 1500;

/** The steps of a run as a curve of bounded length: where steps are many, a point is the mean of several. */
export class Curve {
  readonly points: Point[] = [];
  /** Steps of a point. */
  #each = 1;
  #sums: number[] = [];
  #count = 0;

  /** Adds a step; tells whether that has made a point, or all points anew. */
  add(step: Point): "point" | "all" | undefined {
    this.#sums = step.map((value, i) => value + (this.#sums[i] ?? 0));
    this.#count += 1;
    if (this.#count < this.#each) return undefined;
    this.points.push(mean(this.#sums, this.#count));
    [this.#sums, this.#count] = [[], 0];
    if (this.points.length < MOST) return "point";
    const halves = Array.from({ length: MOST / 2 }, (_, i) => mean(this.points[2 * i]!.map((value, k) => value + this.points[2 * i + 1]![k]!), 2));
    this.points.splice(0, MOST, ...halves);
    this.#each *= 2;
    return "all";
  }
}

function mean(sums: readonly number[], count: number): Point {
  return sums.map((sum) => Number((sum / count).toPrecision(7))) as unknown as Point;
}
