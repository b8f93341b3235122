import type * as Scales from "d3-scale";
import type * as Shapes from "d3-shape";
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

/** What is drawn of a history. */
export interface Curve {
  readonly key: "loss" | "validationLoss" | "validationAccuracy";
  readonly name: string;
  readonly dash: string;
  /** One for each epoch. */
  readonly values: readonly (number | undefined)[];
  /** The outline of a point. */
  readonly outline: string;
  /** The value of the last epoch that has one. */
  readonly last: string;
}

/** Where values lie, in pixels, and which of them are named. */
interface Axis {
  readonly scale: Scales.ScaleLinear<number, number>;
  readonly ticks: readonly { readonly value: number; readonly text: string }[];
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
  readonly losses: Axis;
  readonly accuracies?: Axis;
}

/** Finds the places. */
export function arrange(
  title: string,
  width: number,
  height: number,
  curves: readonly Curve[],
  [first, last]: readonly [number, number],
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
  const losses = numbered(scaleLinear(lossRange(curves), [bottom, top]).nice(count), count);
  const measured = curves.some(({ key }) => key === "validationAccuracy");
  const accuracies = measured ? numbered(scaleLinear([0, 1], [bottom, top]), count) : undefined;
  const left = MARGIN + LINE + widest(losses) + GAP;
  const right = width - MARGIN - (accuracies === undefined ? 0 : GAP + widest(accuracies) + LINE);
  const scale = scaleLinear(first === last ? [first - 1, last + 1] : [first, last], [left + INSET, right - INSET]);
  const ticks = scale
    .ticks((right - left) / (ems(String(last)) * FONT + 28))
    .filter((epoch) => Number.isInteger(epoch) && epoch >= first && epoch <= last)
    .map((epoch) => ({ value: epoch, text: String(epoch) }));
  return { width, height, heading, legend, left, right, top, bottom, epochs: { scale, ticks }, losses, accuracies };
}

function lossRange(curves: readonly Curve[]): [least: number, most: number] {
  let [least, most] = [0, 0];
  for (const loss of curves.flatMap(({ key, values }) => (key === "validationAccuracy" ? [] : values))) {
    if (!Number.isFinite(loss)) continue;
    least = Math.min(least, loss!);
    most = Math.max(most, loss!);
  }
  // No scale has ticks within less.
  return most - least < 1e-300 ? [0, 1] : [least, most];
}

function numbered(scale: Axis["scale"], count: number): Axis {
  const values = scale.ticks(count);
  const most = Math.max(...values.map(Math.abs));
  const text = scale.tickFormat(count, most < 1e-3 || most >= 1e6 ? "~e" : undefined);
  return { scale, ticks: values.map((value) => ({ value, text: value === 0 ? "0" : text(value) })) };
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
export function drawAxes({ width, height, left, right, top, bottom, epochs, losses, accuracies }: Layout): string[] {
  const upright = (className: string, { scale, ticks }: Axis, x: number, anchor: string) => {
    return ticks.map(({ value, text }) => label(className, x, scale(value) + 4, text, { "text-anchor": anchor }));
  };
  const turned = (className: string, x: number, text: string, angle: number) => {
    const transform = `translate(${x},${hundredths((top + bottom) / 2)}) rotate(${angle})`;
    return label(className, 0, 4, text, { transform, "text-anchor": "middle" });
  };
  const level = (y: number) => `M${hundredths(left)},${hundredths(y)}H${hundredths(right)}`;
  const accuracy = accuracies && [
    ...upright("validationAccuracy", accuracies, right + GAP, "start"),
    turned("validationAccuracy", width - MARGIN - FONT / 2, "accuracy (0 to 1)", 90),
  ];
  return [
    ...losses.ticks.map(({ value }) => stroke("grid", level(losses.scale(value)))),
    ...upright("label", losses, left - GAP, "end"),
    turned("label", MARGIN + FONT / 2, "loss (nats)", -90),
    ...(accuracy ?? []),
    stroke("axis", level(bottom)),
    ...epochs.ticks.flatMap(({ value, text }) => [
      stroke("axis", `M${hundredths(epochs.scale(value))},${hundredths(bottom)}v5`),
      label("label epoch", epochs.scale(value), bottom + LINE, text, { "text-anchor": "middle" }),
    ]),
    label("label", (left + right) / 2, height - MARGIN, "epoch", { "text-anchor": "middle" }),
    label("label", width - MARGIN, height - MARGIN, "bold: last value", { "text-anchor": "end" }),
  ];
}

/** A curve with its points. */
export function drawCurve(
  { key, dash, values, outline }: Curve,
  epochs: readonly number[],
  pointed: ReadonlySet<number>,
  layout: Layout,
  shapes: typeof Shapes,
): string {
  const { scale } = key === "validationAccuracy" ? layout.accuracies! : layout.losses;
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
