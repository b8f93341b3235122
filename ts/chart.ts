import type * as Scales from "d3-scale";
import type * as Shapes from "d3-shape";
import type { EpochRow } from "./history.js";
import { element, ems, FONT, hundredths, label, stroke, wrapped } from "./svg.js";

// Pixels.
const MARGIN = 16;
const LINE = 20;
const TITLE_FONT = 16;
const TITLE_LINE = 22;
/** The piece of a curve in the legend. */
const SAMPLE = 28;
/** Between an axis and its labels. */
const GAP = 8;
/** Between the upright axes and the first and last epoch. */
const INSET = 14;
/** If there are more epochs, only those that the axis names are points. */
export const MOST_POINTS = 25;

/** How a curve of a history's numbers looks. */
export interface Look {
  readonly key: "loss" | "accuracy" | "validationLoss" | "validationAccuracy" | "lr";
  readonly name: string;
  readonly dash: string;
  readonly shape: "symbolCircle" | "symbolSquare" | "symbolTriangle";
  /** Whether its axis is the right one. */
  readonly isRight?: boolean;
}

/** What is drawn of a history. */
export interface Curve {
  /** The class by which it has its colour. */
  readonly key: Look["key"];
  readonly name: string;
  readonly dash: string;
  /** One for each epoch. */
  readonly values: readonly (number | undefined)[];
  /** The outline of a point. */
  readonly outline: string;
  /** The value of the last epoch that has one. */
  readonly last: string;
  /** Whether its axis is the right one. */
  readonly isRight?: boolean;
}

/** An upright axis: its name with the unit, the least and the largest of its values, and whether round numbers beyond them are its ends. */
export interface Upright {
  readonly name: string;
  readonly range: readonly [least: number, most: number];
  readonly isRounded: boolean;
}

/** Where values lie, in pixels, and which of them are named. */
interface Axis {
  readonly scale: Scales.ScaleLinear<number, number>;
  readonly ticks: readonly { readonly value: number; readonly text: string }[];
  readonly name: string;
}

/** Where everything lies. */
export interface Layout {
  readonly width: number;
  readonly height: number;
  readonly heading: readonly string[];
  readonly legend: readonly { readonly curve: Curve; readonly x: number; readonly y: number }[];
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly epochs: Axis;
  readonly leftAxis: Axis;
  readonly rightAxis?: Axis;
}

/** The curves of those numbers that the rows have. */
export function curvesOf(rows: readonly EpochRow[], looks: readonly Look[], shapes: typeof Shapes): Curve[] {
  return looks.flatMap(({ shape, ...look }) => {
    const values = rows.map((row) => row[look.key]);
    const last = values.findLast((value) => value !== undefined);
    if (last === undefined) return [];
    return [{ ...look, values, outline: shapes.symbol(shapes[shape], 48).digits(2)()!, last: last.toPrecision(4) }];
  });
}

/** Finds the places. */
export function arrange(
  title: string,
  width: number,
  height: number,
  curves: readonly Curve[],
  [first, last]: readonly [number, number],
  upright: { readonly left: Upright; readonly right?: Upright },
  scaleLinear: typeof Scales.scaleLinear,
): Layout {
  // Bold letters are wider by a tenth.
  const heading = wrapped(title, (width - 2 * MARGIN) / (1.1 * TITLE_FONT));
  const legend: { curve: Curve; x: number; y: number }[] = [];
  let [x, y] = [MARGIN, MARGIN + heading.length * TITLE_LINE + LINE / 2];
  for (const curve of curves) {
    const room = SAMPLE + ems(`${curve.name} ${curve.last}`) * FONT + GAP;
    if (x + room > width) [x, y] = [MARGIN, y + LINE];
    legend.push({ curve, x, y });
    x += room + GAP;
  }
  const [top, bottom] = [y + LINE, height - MARGIN - 2 * LINE];
  const count = Math.floor((bottom - top) / 50);
  const numbers = ({ name, range, isRounded }: Upright) => {
    const scale = scaleLinear(range, [bottom, top]);
    return numbered(name, isRounded ? scale.nice(count) : scale, count);
  };
  const leftAxis = numbers(upright.left);
  const rightAxis = upright.right && numbers(upright.right);
  const left = MARGIN + LINE + widest(leftAxis) + GAP;
  const right = width - MARGIN - (rightAxis === undefined ? 0 : GAP + widest(rightAxis) + LINE);
  const scale = scaleLinear(first === last ? [first - 1, last + 1] : [first, last], [left + INSET, right - INSET]);
  const ticks = scale
    .ticks((right - left) / (ems(String(last)) * FONT + 28))
    .filter((epoch) => Number.isInteger(epoch) && epoch >= first && epoch <= last)
    .map((epoch) => ({ value: epoch, text: String(epoch) }));
  return { width, height, heading, legend, left, right, top, bottom, epochs: { scale, ticks, name: "epoch" }, leftAxis, rightAxis };
}

/** The least and the largest of the values that are finite, and of those that are to be there in any case. */
export function rangeOf(curves: readonly Curve[], always: readonly number[] = []): [least: number, most: number] {
  let [least, most] = [Infinity, -Infinity];
  for (const value of [always, ...curves.map(({ values }) => values)].flat()) {
    if (!Number.isFinite(value)) continue;
    least = Math.min(least, value!);
    most = Math.max(most, value!);
  }
  if (least > most) return [0, 1];
  // No scale has ticks within less.
  return most - least < 1e-300 ? [least, least + 1] : [least, most];
}

function numbered(name: string, scale: Axis["scale"], count: number): Axis {
  const values = scale.ticks(count);
  const most = Math.max(...values.map(Math.abs));
  const text = scale.tickFormat(count, most < 1e-3 || most >= 1e6 ? "~e" : undefined);
  return { name, scale, ticks: values.map((value) => ({ value, text: value === 0 ? "0" : text(value) })) };
}

function widest({ ticks }: Axis): number {
  return Math.max(...ticks.map(({ text }) => ems(text))) * FONT;
}

/** The title and the legend. */
export function drawHeading({ heading, legend }: Layout): string[] {
  const lines = heading.map((text, i) => {
    const font = { "font-size": TITLE_FONT, "font-weight": "bold" };
    return label("title", MARGIN, MARGIN + TITLE_FONT - 2 + i * TITLE_LINE, text, font);
  });
  const entries = legend.map(({ curve: { key, name, dash, outline, last }, x, y }) => {
    const value = element("tspan", { class: "title", "font-weight": "bold", fill: "currentColor" }, last);
    return element(
      "g",
      { class: "entry" },
      stroke(key, `M${x},${y}h${SAMPLE}`, { "stroke-width": 2, "stroke-dasharray": dash }),
      point(key, outline, x + SAMPLE / 2, y),
      element("text", { class: "label", x: x + SAMPLE + GAP, y: y + 4, fill: "currentColor" }, `${name} `, value),
    );
  });
  return [...lines, ...entries];
}

/** The axes with their names, units and grid. */
export function drawAxes({ width, height, left, right, top, bottom, epochs, leftAxis, rightAxis }: Layout): string[] {
  const upright = (className: string, { scale, ticks }: Axis, x: number, anchor: string) => {
    return ticks.map(({ value, text }) => label(className, x, scale(value) + 4, text, { "text-anchor": anchor }));
  };
  const turned = (className: string, x: number, text: string, angle: number) => {
    const transform = `translate(${x},${hundredths((top + bottom) / 2)}) rotate(${angle})`;
    return label(className, 0, 4, text, { transform, "text-anchor": "middle" });
  };
  const level = (y: number) => `M${hundredths(left)},${hundredths(y)}H${hundredths(right)}`;
  // The right axis has the colour of its curve.
  const other = rightAxis && [
    ...upright("validationAccuracy", rightAxis, right + GAP, "start"),
    turned("validationAccuracy", width - MARGIN - FONT / 2, rightAxis.name, 90),
  ];
  return [
    ...leftAxis.ticks.map(({ value }) => stroke("grid", level(leftAxis.scale(value)))),
    ...upright("label", leftAxis, left - GAP, "end"),
    turned("label", MARGIN + FONT / 2, leftAxis.name, -90),
    ...(other ?? []),
    stroke("axis", level(bottom)),
    ...epochs.ticks.flatMap(({ value, text }) => [
      stroke("axis", `M${hundredths(epochs.scale(value))},${hundredths(bottom)}v5`),
      label("label epoch", epochs.scale(value), bottom + LINE, text, { "text-anchor": "middle" }),
    ]),
    label("label", (left + right) / 2, height - MARGIN, epochs.name, { "text-anchor": "middle" }),
    label("label", width - MARGIN, height - MARGIN, "bold: last value", { "text-anchor": "end" }),
  ];
}

/** A curve with its points. */
export function drawCurve(
  { key, dash, values, outline, isRight }: Curve,
  epochs: readonly number[],
  pointed: ReadonlySet<number>,
  layout: Layout,
  shapes: typeof Shapes,
): string {
  const { scale } = isRight ? layout.rightAxis! : layout.leftAxis;
  const [x, y] = [(i: number) => layout.epochs.scale(epochs[i]!), (i: number) => scale(values[i]!)];
  const there = (i: number) => Number.isFinite(values[i]);
  const steps = [...values.keys()];
  const line = shapes.line<number>(x, y).defined(there).digits(2);
  // A value between gaps is on no line.
  const points = steps.filter((i) => there(i) && (pointed.has(epochs[i]!) || (!there(i - 1) && !there(i + 1))));
  return element(
    "g",
    { class: "curve" },
    stroke(key, line(steps) ?? "", { "stroke-width": 2, "stroke-dasharray": dash, "stroke-linejoin": "round" }),
    points.map((i) => point(key, outline, x(i), y(i))).join(""),
  );
}

function point(className: string, outline: string, x: number, y: number): string {
  const transform = `translate(${hundredths(x)},${hundredths(y)})`;
  return element("path", { class: `${className} point`, d: outline, transform, fill: "currentColor" });
}
