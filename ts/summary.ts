import { inspect } from "node:util";
import { check, instance, list, type Rule } from "./options.js";
import { table } from "./table.js";

/** A stage or a layer of a network. */
export interface LayerRow {
  /** Name of the stage, or state-dict name of the layer. */
  readonly name: string;
  /** Type of the layer or stage, such as `Conv2d`. */
  readonly kind: string;
  /** Sizes of its output, batch included. */
  readonly outputShape: readonly number[];
  /** Number of its parameters, without running statistics. */
  readonly params: number;
  /** Multiply-adds of its convolutions and linear layers for one image. */
  readonly macs: number;
  /** Bytes of what its layers put out, batch included: what training would keep if no two values shared memory. */
  readonly activationBytes: number;
}

const rowRule: Rule<LayerRow> = {
  expected: "a row of a summary",
  accepts: (value) => {
    const { name, kind, outputShape, params, macs, activationBytes } = value as LayerRow;
    const isWhole = [params, macs, activationBytes].every((number) => typeof number === "number");
    return typeof name === "string" && typeof kind === "string" && Array.isArray(outputShape) && isWhole;
  },
};
const rowsRule = { ...list(rowRule, "rows of a summary"), most: Infinity };

/** The rows of a network. Prints as a table. */
export class LayerSummary extends Array<LayerRow> {
  /** @internal */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }

  /** The rows as a table, with a last row for the sums. */
  override toString(): string {
    check("rows", check("this", this, instance("what layerSummary gives", LayerSummary)), rowsRule);
    const count = (value: number) => value.toLocaleString("en");
    const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;
    const total = (of: (row: LayerRow) => number) => this.reduce((sum, row) => sum + of(row), 0);
    const rows = this.map(({ name, kind, outputShape, params, macs, activationBytes }) => {
      return [name, kind, outputShape.join("×"), count(params), count(macs), mebibytes(activationBytes)];
    });
    const [params, macs] = [total((row) => row.params), total((row) => row.macs)];
    rows.push(["total", "", "", count(params), count(macs), mebibytes(total((row) => row.activationBytes))]);
    return table(["name", "kind", "output", "parameters", "multiply-adds", "activations"], rows, 2);
  }

  /** @internal */
  [inspect.custom](): string {
    return LayerSummary.prototype.toString.call(this);
  }
}
