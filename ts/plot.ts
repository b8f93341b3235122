import { arrange, curvesOf, drawAxes, drawCurve, drawHeading, type Look, MOST_POINTS, rangeOf } from "./chart.js";
import { checkHistory, type EpochRow, type History } from "./history.js";
import { checkOptions, integer, oneOf, type Rules, string, unexpected } from "./options.js";
import { element, escaped, FONT } from "./svg.js";

/** Options of {@link plot}. */
export interface PlotOptions {
  /** Colours, by default `"auto"`: the reader's scheme, light or dark. */
  theme?: "auto" | "light" | "dark";
  /** Width in pixels, from 400 to 4096, default 640. */
  width?: number;
  /** Height in pixels, from 300 to 4096, default 400. */
  height?: number;
  /** What stands above the chart, on at most two lines, by default nothing. */
  title?: string;
}

const rules: Rules<PlotOptions> = {
  theme: oneOf("auto", "light", "dark"),
  width: integer(400, 4096),
  height: integer(300, 4096),
  title: string,
};

/** Told apart by colours that the colour-blind can tell apart too, by dashes, and by the shape of the points. */
const CURVES: readonly Look[] = [
  { key: "loss", name: "training loss", dash: "none", shape: "symbolCircle" },
  { key: "validationLoss", name: "validation loss", dash: "7 4", shape: "symbolSquare" },
  { key: "validationAccuracy", name: "validation accuracy", dash: "9 4 2 4", shape: "symbolTriangle", isRight: true },
];

/** Colours by class. */
const COLOURS = {
  light: {
    ground: "#ffffff",
    title: "#1f2328",
    label: "#59636e",
    axis: "#818b98",
    grid: "#e4e8ec",
    loss: "#0072b2",
    validationLoss: "#c74b00",
    validationAccuracy: "#00795a",
  },
  dark: {
    ground: "#0d1117",
    title: "#e6edf3",
    label: "#9198a1",
    axis: "#656c76",
    grid: "#262c36",
    loss: "#56b4e9",
    validationLoss: "#e69f00",
    validationAccuracy: "#35c49a",
  },
};

/**
 * Draws training loss, validation loss and validation accuracy against the epochs, as far as the history has them: the
 * text of an SVG file without scripts or outside resources. Losses have the left axis, in nats, accuracy the right one,
 * from 0 to 1; the legend tells each curve's last value. Values that are not finite are gaps. The same history gives
 * the same text.
 *
 * @param history - What {@link fit} gave, or rows of it: epochs ascending, accuracies from 0 to 1.
 *
 * @example
 * ```ts
 * const history = await fit(model, data, { epochs: 10 });
 * await writeFile("history.svg", await plot(history, { title: "ResNet-18 on Fashion-MNIST" }));
 * ```
 *
 * Rejects with `ERR_INVALID_ARGUMENT` for a history without epochs, and for rows or options that cannot be.
 */
export async function plot(history: History | readonly EpochRow[], options?: PlotOptions): Promise<string> {
  const { theme = "auto", width = 640, height = 400, title = "" } = checkOptions(options, rules);
  const rows = checkHistory(history, ["epoch", "loss"]);
  if (rows.length === 0) throw unexpected("history", "at least 1 epoch", 0);
  // Who draws nothing does not wait for them.
  const [{ scaleLinear }, shapes] = await Promise.all([import("d3-scale"), import("d3-shape")]);
  const curves = curvesOf(rows, CURVES, shapes);
  const epochs = rows.map(({ epoch }) => epoch);
  const [first, last] = [epochs[0]!, epochs.at(-1)!];
  const losses = { name: "loss (nats)", range: rangeOf(curves.filter(({ isRight }) => !isRight), [0]), isRounded: true };
  const accuracies = curves.some(({ isRight }) => isRight) ? { name: "accuracy (0 to 1)", range: [0, 1] as const, isRounded: false } : undefined;
  const layout = arrange(title, width, height, curves, [first, last], { left: losses, right: accuracies }, scaleLinear);
  const named = layout.epochs.ticks.map(({ value }) => value);
  const pointed = new Set(epochs.length > MOST_POINTS ? [...named, last] : epochs);
  const span = first === last ? `Epoch ${first}` : `Epochs ${first} to ${last}`;
  const root = `resnet-native-${theme}`;
  const svg = element(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: root },
    element("title", {}, escaped(title || "Training history")),
    element("desc", {}, `${span}. Last values: ${curves.map((curve) => `${curve.name} ${curve.last}`).join(", ")}.`),
    element("style", {}, style(`.${root}`, theme)),
    element("rect", { class: "ground", width, height, fill: "currentColor" }),
    ...drawHeading(layout),
    ...drawAxes(layout),
    ...curves.map((curve) => drawCurve(curve, epochs, pointed, layout, shapes)),
  );
  return `${svg}\n`;
}

function style(root: string, theme: "auto" | "light" | "dark"): string {
  const colours = (palette: (typeof COLOURS)["light"]) => {
    const classes = Object.entries(palette).map(([name, colour]) => `${root} .${name}{color:${colour}}`);
    return `${classes.join("")}${root} .point{stroke:${palette.ground}}`;
  };
  const font = `${root}{font:${FONT}px system-ui,sans-serif}`;
  if (theme !== "auto") return font + colours(COLOURS[theme]);
  return `${font}${colours(COLOURS.light)}@media(prefers-color-scheme:dark){${colours(COLOURS.dark)}}`;
}
