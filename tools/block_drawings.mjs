// node tools/block_drawings.mjs, after npm run build: draws the chapter's blocks to assets/. What is drawn is what the header of a block's
// saved file says that it is.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { batchNorm2d, Bottleneck, conv2d, PreActResidual, relu, Residual, ResNeXtBlock, sequential } from "../dist/index.js";
import { element, escaped, label, stroke } from "../dist/svg.js";

/** Pixels: a box, between two of them, a column's edge, the shortcut's way, and the box on it. */
const [WIDTH, GAP, MARGIN, LANE, SIDE] = [112, 14, 17, 32, 86];
const HEIGHTS = { conv: 42, norm: 26, relu: 26 };
const TOP = 74;
const RADIUS = 9;

const COLOURS = {
  light: { ground: "#ffffff", title: "#1f2328", label: "#1f2328", small: "#59636e", line: "#59636e", conv: "#cfe3f5", norm: "#e9ecef", relu: "#cfeadd", sum: "#fde3c8" },
  dark: { ground: "#0d1117", title: "#e6edf3", label: "#e6edf3", small: "#a9b4c0", line: "#9198a1", conv: "#17395c", norm: "#2a313b", relu: "#144534", sum: "#5f3a12" },
};

const plain = (channels) => [conv2d(channels, { padding: 1 }), batchNorm2d(), relu()];
const drawings = {
  "blocks.svg": [
    ["plain", "", sequential([...plain(64), ...plain(64)], { inChannels: 64 })],
    ["Residual(64)", "", new Residual(64, { inChannels: 64 })],
    ["Residual(128)", "1×1 shortcut, stride 2", new Residual(128, { inChannels: 64, use1x1Conv: true, strides: 2 })],
  ],
  "block-variants.svg": [
    ["Bottleneck(64)", "of 256 channels", new Bottleneck(64, { inChannels: 256 })],
    ["ResNeXtBlock(64)", "groups 16, botMul 1", new ResNeXtBlock(64, { inChannels: 64, groups: 16, botMul: 1 })],
    ["PreActResidual(64)", "", new PreActResidual(64, { inChannels: 64 })],
  ],
};

const folder = await mkdtemp(join(tmpdir(), "resnet-native-"));
for (const [file, blocks] of Object.entries(drawings)) {
  const columns = [];
  for (const [name, note, model] of blocks) columns.push({ name, note, ...partsOf(await networkOf(model)) });
  await writeFile(new URL(`../assets/${file}`, import.meta.url), `${draw(columns)}\n`);
}
await rm(folder, { recursive: true });

/** The layer tree that a model's file has in its header. */
async function networkOf(model) {
  const file = join(folder, "block.safetensors");
  await model.save(file);
  const bytes = await readFile(file);
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))));
  return JSON.parse(header["__metadata__"].resnet_native).network;
}

/** What is drawn: boxes from top to bottom, and where there is a sum, boxes of the shortcut and whether ReLU follows. */
function partsOf({ type, children, preactivation, body, shortcut, relu: isLast }) {
  if (type === "sequential") return { body: children.map(boxOf) };
  const main = [...(preactivation?.children ?? []), ...body.children].map(boxOf);
  return { body: main, hasSum: true, shortcut: (shortcut?.children ?? []).map(boxOf), isLast };
}

function boxOf({ layer }) {
  if (layer.type === "batch_norm2d") return { kind: "norm", text: "batch norm" };
  if (layer.type === "relu") return { kind: "relu", text: "ReLU" };
  if (layer.type !== "conv2d") throw new Error(`${layer.type}: expected a convolution, a batch norm or ReLU`);
  const { kernel, out_channels: channels, stride, groups } = layer;
  const more = [...(stride[0] > 1 ? [`stride ${stride[0]}`] : []), ...(groups > 1 ? [`${groups} groups`] : [])];
  return { kind: "conv", text: `conv ${kernel.join("×")}`, small: more.length > 0 ? `${channels}, ${more.join(", ")}` : `${channels} channels` };
}

function draw(columns) {
  const widths = columns.map(({ hasSum, shortcut }) => WIDTH + 2 * MARGIN + (hasSum ? LANE : 0) + (shortcut?.length ? SIDE - LANE / 2 : 0));
  const width = widths.reduce((sum, value) => sum + value, 0);
  const height = Math.max(...columns.map(heightOf));
  const lefts = widths.map((_, i) => widths.slice(0, i).reduce((sum, value) => sum + value, MARGIN));
  const told = columns.map(({ name, note }) => (note === "" ? name : `${name}, ${note}`)).join("; ");
  return element(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", class: "resnet-native-blocks" },
    element("title", {}, escaped(`Blocks side by side: ${told}`)),
    element("style", {}, style()),
    element("rect", { class: "ground", width, height, fill: "currentColor" }),
    ...columns.flatMap((column, i) => drawColumn(column, lefts[i])),
  );
}

function heightOf({ body, hasSum, isLast }) {
  const boxes = body.reduce((sum, { kind }) => sum + HEIGHTS[kind] + GAP, TOP);
  return boxes + (hasSum ? 2 * RADIUS + GAP : 0) + (isLast ? HEIGHTS.relu + GAP : 0) + GAP;
}

function drawColumn({ name, note, body, hasSum, shortcut, isLast }, left) {
  const x = left + WIDTH / 2;
  const lane = left + WIDTH + (shortcut?.length ? (LANE - 10) / 2 + SIDE / 2 : LANE / 2);
  const parts = [
    label("title", left, 24, name, { "font-weight": "bold" }),
    label("small", left, 41, note),
  ];
  // Where the shortcut leaves, above the first box.
  const start = TOP - GAP;
  let y = start - GAP / 2;
  const down = (to) => parts.push(stroke("line", `M${x},${y}V${to}`), arrow(x, to));
  for (const { kind, text, small } of body) {
    const top = y + GAP + (y < start ? GAP / 2 : 0);
    down(top);
    parts.push(box(kind, left, top, WIDTH, HEIGHTS[kind], text, small));
    y = top + HEIGHTS[kind];
  }
  if (hasSum) {
    const centre = y + GAP + RADIUS;
    down(centre - RADIUS);
    parts.push(stroke("line", `M${x},${start - 1}H${lane - 8}q8,0 8,8V${centre - 8}q0,8 -8,8H${x + RADIUS}`), arrow(x + RADIUS, centre, 90));
    const middle = (start + centre) / 2;
    for (const { kind, text, small } of shortcut) parts.push(box(kind, lane - SIDE / 2, middle - HEIGHTS[kind] / 2, SIDE, HEIGHTS[kind], text, small));
    parts.push(element("circle", { class: "sum", cx: x, cy: centre, r: RADIUS, fill: "currentColor" }));
    parts.push(stroke("line", `M${x - 5},${centre}h10M${x},${centre - 5}v10`));
    y = centre + RADIUS;
  }
  if (isLast) {
    down(y + GAP);
    parts.push(box("relu", left, y + GAP, WIDTH, HEIGHTS.relu, "ReLU"));
    y += GAP + HEIGHTS.relu;
  }
  down(y + GAP);
  return parts;
}

function box(kind, x, y, width, height, text, small) {
  const middle = { "text-anchor": "middle" };
  const lines = small === undefined ? [[text, "label", 0.5]] : [[text, "label", 0.32], [small, "small", 0.72]];
  const texts = lines.map(([words, name, at]) => label(name, x + width / 2, y + at * height + 4.5, words, middle));
  return element("g", {}, element("rect", { class: kind, x, y, width, height, rx: 5, fill: "currentColor" }), ...texts);
}

/** The head of an arrow that ends at a point, pointing down, or turned by some degrees. */
function arrow(x, y, turned = 0) {
  return element("path", { class: "line", d: "M0,0l-3.5,-6h7z", transform: `translate(${x},${y}) rotate(${turned})`, fill: "currentColor" });
}

function style() {
  const colours = (palette) => Object.entries(palette).map(([name, colour]) => `.resnet-native-blocks .${name}{color:${colour}}`).join("");
  const fonts = ".resnet-native-blocks{font:14px system-ui,sans-serif}.resnet-native-blocks .small{font-size:11.5px}";
  return `${fonts}${colours(COLOURS.light)}@media(prefers-color-scheme:dark){${colours(COLOURS.dark)}}`;
}
