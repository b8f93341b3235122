import { arrange, type Curve, curvesOf, drawAxes, drawCurve, drawHeading, type Layout, type Look, MOST_POINTS, rangeOf } from "../chart.js";
import type { EpochRow } from "../history.js";
import { element, escaped, hundredths } from "../svg.js";
import { Html, html } from "./page.js";

/** Epochs that can be pointed at; of more, every second or third. */
const MOST_PLACES = 400;
/** Width and height in pixels: on a screen and on paper, and on a phone, where letters must not shrink. */
const SIZES = { wide: [704, 320], narrow: [350, 280] } as const;

/** What a chart shows. */
export interface Chart {
  readonly looks: readonly Look[];
  /** Name of the upright axis, with the unit. */
  readonly axis: string;
  /** Values that are on the axis in any case. */
  readonly always?: readonly number[];
  /** What it shows, for those who do not see it. */
  readonly title: string;
  readonly caption: Html;
  /** A value as text. */
  readonly text: (value: number) => string;
}

/** Every so many of a list's items, and the last one, so that there are at most `most` and one more. */
export function thinned<T>(items: readonly T[], most: number): readonly T[] {
  const step = Math.ceil(items.length / most);
  return items.filter((_, i) => i % step === 0 || i === items.length - 1);
}

/** A chart of a history's numbers: whole without scripts, with which each epoch's numbers can be pointed at. */
export async function chart(rows: readonly EpochRow[], { looks, axis, always, title, caption, text }: Chart): Promise<Html> {
  const [{ scaleLinear }, shapes] = await Promise.all([import("d3-scale"), import("d3-shape")]);
  const curves = curvesOf(rows, looks, shapes).map((curve) => ({ ...curve, last: text(Number(curve.values.findLast((value) => value !== undefined))) }));
  const epochs = rows.map(({ epoch }) => epoch);
  const [first, last] = [epochs[0]!, epochs.at(-1)!];
  const told = `${first === last ? `Epoch ${first}` : `Epochs ${first} to ${last}`}. Last values: ${curves.map(({ name, last }) => `${name} ${last}`).join(", ")}.`;
  const left = { name: axis, range: spread(rangeOf(curves, always)), isRounded: true };
  const drawn = Object.entries(SIZES).map(([size, [width, height]]) => {
    const layout = arrange("", width, height, curves, [first, last], { left }, scaleLinear);
    const pointed = new Set(epochs.length > MOST_POINTS ? [...layout.epochs.ticks.map(({ value }) => value), last] : epochs);
    return element(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: size, "aria-label": attribute(`${title}. ${told}`) },
      ...drawHeading(layout),
      ...drawAxes(layout),
      ...curves.map((curve) => drawCurve(curve, epochs, pointed, layout, shapes)),
      ...places(epochs, curves, layout, text),
    );
  });
  return html`<figure class="chart">${Html.trusted(drawn.join(""))}<figcaption>${caption}</figcaption></figure>`;
}

/** Strips to point at, each with its epoch's numbers. */
function places(epochs: readonly number[], curves: readonly Curve[], { epochs: { scale }, top, bottom }: Layout, text: (value: number) => string): string[] {
  const shown = thinned([...epochs.keys()], MOST_PLACES);
  const x = (i: number) => scale(epochs[i]!);
  return shown.map((i, n) => {
    const [before, after] = [shown[n - 1], shown[n + 1]];
    const from = before === undefined ? x(i) - 14 : (x(before) + x(i)) / 2;
    const to = after === undefined ? x(i) + 14 : (x(after) + x(i)) / 2;
    const numbers = curves.flatMap(({ name, values }) => (values[i] === undefined ? [] : [`${name} ${text(values[i])}`]));
    const told = element("title", {}, escaped(`Epoch ${epochs[i]}: ${numbers.join(", ")}`));
    return element("rect", { class: "place", "data-x": hundredths(x(i)), x: from, y: top, width: to - from, height: bottom - top, fill: "transparent" }, told);
  });
}

/** A range that is wide enough for ticks to differ. */
function spread([least, most]: readonly [number, number]): readonly [number, number] {
  const middle = (least + most) / 2;
  const room = Math.max(Math.abs(middle) * 1e-3, 1e-12);
  return most - least >= room ? [least, most] : [middle - room, middle + room];
}

/** A text as an attribute holds it. */
function attribute(text: string): string {
  return escaped(text).replaceAll('"', "&quot;");
}
