// Points and the line through them, as an SVG.

import { scaleLinear } from "d3-scale";
import { element, label, stroke } from "../dist/svg.js";

const [WIDTH, HEIGHT, MARGIN] = [640, 380, 56];

/** A chart of `fit`'s points and line, from zero on both axes. */
export function lineChart({ points, slope, start, r2 }, { across, up }) {
  const most = (of) => Math.max(...points.map(of));
  const x = scaleLinear([0, most(({ at }) => at)], [MARGIN, WIDTH - MARGIN]).nice();
  const y = scaleLinear([0, most(({ seconds }) => seconds)], [HEIGHT - MARGIN, MARGIN]).nice();
  const end = x.domain()[1];
  const marks = [
    ...x.ticks(8).map((value) => label("tick", x(value), HEIGHT - MARGIN + 20, String(value), { "text-anchor": "middle" })),
    ...y.ticks(6).map((value) => label("tick", MARGIN - 8, y(value) + 4, String(value), { "text-anchor": "end" })),
  ];
  const dots = points.map(({ at, seconds }) => element("circle", { cx: x(at), cy: y(seconds), r: 4, fill: "currentColor" }));
  return element(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "font-family": "sans-serif", "font-size": 12 },
    element("rect", { width: "100%", height: "100%", fill: "#fff" }),
    label("title", MARGIN, MARGIN - 24, `${up}; R² of the line ${r2.toFixed(4)}`),
    label("axis", WIDTH - MARGIN, HEIGHT - 12, across, { "text-anchor": "end" }),
    stroke("axes", `M${MARGIN},${MARGIN}V${HEIGHT - MARGIN}H${WIDTH - MARGIN}`),
    stroke("line", `M${x(0)},${y(start)}L${x(end)},${y(start + slope * end)}`, { "stroke-dasharray": "4 4" }),
    ...marks,
    ...dots,
  );
}
