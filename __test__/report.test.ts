import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { balancedSampler, type BatchOptions, CifarResNet, cosine, cutmix, type Dataset, type EpochRow, evaluate, fit, type FitOptions, flip, fromArrays, globalAvgPool2d, mistakes, mixup, type Model, preprocess, relu, report, ResNet, sequential, sgd } from "resnet-native";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodePng } from "../ts/png.js";
import { architecture } from "../ts/report/architecture.js";
import { card } from "../ts/report/card.js";
import { classes } from "../ts/report/classes.js";
import { confusion } from "../ts/report/confusion.js";
import { curves } from "../ts/report/curves.js";
import { mistakes as wrong } from "../ts/report/mistake-pictures.js";
import { type Findings, isMissing } from "../ts/report/findings.js";
import { filters } from "../ts/report/filters.js";
import { html, page } from "../ts/report/page.js";
import { rate } from "../ts/report/rate.js";
import type { Section } from "../ts/report/section.js";
import { reportPage, SECTIONS } from "../ts/report/sections.js";
import { summary } from "../ts/report/summary.js";
import { any, collect, pictures, rejection } from "./pictures.js";

const HOSTILE = `<script>alert("1")</script>`;
const PICTURE = { src: "data:image/png;base64,", width: 8, height: 8 };
const rowsOf = (count: number): EpochRow[] =>
  Array.from({ length: count }, (_, i) => ({ epoch: i + 1, loss: 2 / (i + 1), accuracy: 0.3, validationLoss: 2.5 / (i + 1), validationAccuracy: 1 - 0.5 / (i + 1), lr: 0.1 / (i + 1), seconds: 61 }));

/** What a report of so many classes may tell; each image of a class is taken for it once, and `i` times for the class before it. */
function found(count = 3, change: Partial<Findings> = {}): Findings {
  const names = Array.from({ length: count }, (_, i) => `class ${i}`);
  const matrix = names.map((_, of) => names.map((_, as) => (of === as ? 1 : as === of - 1 ? of : 0)));
  const layer = { name: "conv1", kind: "Conv2d", outputShape: [1, 4, 8, 8], params: 1234, macs: 5678, activationBytes: 9 };
  const facts = { samples: 1234, imageShape: [1, 8, 8], counts: names.map((_, i) => 1000 + i) };
  return {
    title: "A run",
    written: new Date(0),
    network: { name: "ResNet", parameters: 1234, seed: 8, labelKind: "single", temperature: 1, stages: [layer], layers: [layer, layer] },
    rows: rowsOf(4),
    stoppedEarly: false,
    data: { classNames: names, train: facts, measured: { ...facts, samples: 77 }, role: "validation" },
    evaluation: {
      loss: 0.12345,
      accuracy: 0.54321,
      macroF1: 0.4,
      confusion: matrix,
      classes: names.map((name, label) => ({ name, label, precision: 0.25, recall: 0.5, f1: 1 / 3, support: label + 1 })),
    },
    mistakes: [{ index: 5, path: `/data/cats/"x' onerror=alert(1).png`, labels: [{ name: "cat", label: 0, probability: 0.02 }], predicted: [{ name: HOSTILE, label: 1, probability: 0.97 }], probability: 0.97, picture: PICTURE }],
    filters: { missing: "None." },
    augmented: { missing: "None." },
    configuration: { epochs: 4 },
    environment: [["Node", "v20"]],
    ...change,
  };
}

/** A section's markup; fails if there is none. */
async function shown({ render }: Section, findings: Findings): Promise<string> {
  const content = await render(findings);
  return isMissing(content) ? expect.fail(content.missing) : content.text;
}

/** The texts of a table's cells, row by row. */
const cells = (markup: string) =>
  [...markup.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row]) => [...row!.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell]) => cell!.replaceAll(/<[^>]*>/g, "")));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "resnet-native-report-"));
});
afterAll(async () => rm(folder, { recursive: true }));

test("whatever is put into markup is text", () => {
  const title = `</title>"'&${HOSTILE}\u0000`;
  expect(html`<b title="${title}">${title}</b>${[1, html`<i>`, false, undefined, ["<"]]}`.text).toBe(
    `<b title="&lt;/title&gt;&quot;&#39;&amp;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;\ufffd">&lt;/title&gt;&quot;&#39;&amp;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;\ufffd</b>1<i>&lt;`,
  );
});

test("names, paths and titles of any kind add no element and no attribute, and the page asks for nothing", async () => {
  const names = [HOSTILE, `" onmouseover="alert(1)`, "' style='x"];
  const findings = found(3, { title: HOSTILE, configuration: { note: HOSTILE }, environment: [[HOSTILE, HOSTILE]] });
  const hostile: Findings = { ...findings, data: { ...findings.data, classNames: names, source: HOSTILE }, evaluation: { ...findings.evaluation, classes: findings.evaluation.classes!.map((one, i) => ({ ...one, name: names[i]! })) } };
  const text = await reportPage(hostile, "resnet-native 0.1.0");
  const tags = (page: string) => [...page.replaceAll(/<(style|script)>.*?<\/\1>/gs, "<$1>").matchAll(/<[a-z][^>]*>/g)].map(([tag]) => tag.replaceAll(/"[^"]*"/g, `""`));
  expect(tags(text)).toEqual(tags(await reportPage(findings, "resnet-native 0.1.0")));
  expect(text.match(/<script/g)).toHaveLength(1);
  expect(text.match(/&lt;script&gt;alert\(&quot;1&quot;\)&lt;\/script&gt;/g)!.length).toBeGreaterThan(8);
  const body = text.replace(/<(style|script)>.*?<\/\1>/gs, "");
  expect(body).not.toMatch(/(src|href)="(?!data:|#)|url\(|@import/);
  const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(text)!;
  expect(policy).toMatch(/^default-src 'none'; img-src data:; style-src 'sha256-[^ ]*'; script-src 'sha256-[^ ]*'; base-uri 'none'; form-action 'none'$/);
});

test("a page names its chapters, in order", async () => {
  const text = await page("T", "K", [{ id: "a", title: "A & B", content: html`<p>x</p>` }, { id: "b", title: "C", content: html`y` }], "g");
  expect(text).toContain(`<nav aria-label="Sections"><ol><li><a href="#a">A &amp; B</a></li><li><a href="#b">C</a></li></ol></nav>`);
  expect(text).toContain(`<section id="a" aria-labelledby="a-title">\n<h2 id="a-title">A &amp; B</h2>\n<p>x</p>\n</section>`);
});

test("sections without anything to show are told of at the end, with the reason", async () => {
  const text = await reportPage(found(3, { rows: { missing: "No history." }, mistakes: { missing: "No mistakes." } }), "g");
  expect(text).not.toMatch(/<section id="(curves|rate|mistakes|filters|augmented)"/);
  const end = text.slice(text.indexOf(`<section id="missing"`));
  const told = [...end.matchAll(/<dt>(.*?)<\/dt><dd>(.*?)<\/dd>/g)].map(([, name, why]) => [name, why]);
  expect(told).toEqual([["Curves", "No history."], ["Learning rate", "No history."], ["Most confident mistakes", "No mistakes."], ["First-layer filters", "None."], ["Augmented samples", "None."]]);
  expect(new Set(SECTIONS.map(({ id }) => id)).size).toBe(SECTIONS.length);
});

test("the summary tells what was trained, on what, and what came of it", async () => {
  const text = await shown(summary, found(3, { best: { epoch: 3, monitor: "validationAccuracy", value: 0.8333 }, stoppedEarly: true }));
  for (const part of ["54.32\u00a0%", "0.1235", "1,234", "77 validation images", "4 epochs in 4 min 4 s, ended early", "3, by validation accuracy 0.8333", "1970-01-01 00:00 UTC"]) expect(text).toContain(part);
  const trained = await shown(summary, found(3, { data: { ...found().data, role: "training" } }));
  expect(trained).toContain("There is no validation set");
  expect(trained).toContain("77 training images");
});

test("curves have the history's numbers, to the last digit, and a place for each epoch", async () => {
  const rows = rowsOf(5).map((row, i) => (i === 2 ? { ...row, validationLoss: undefined, validationAccuracy: undefined } : row));
  const text = await shown(curves, found(3, { rows }));
  const table = [...text.matchAll(/<tr><th scope="row">(\d+)<\/th>(.*?)<\/tr>/gs)].map(([, epoch, cells]) => [Number(epoch), ...[...cells!.matchAll(/<td>(?:<data value="([^"]*)">|–)/g)].map(([, value]) => (value === undefined ? undefined : Number(value)))]);
  expect(table).toEqual(rows.map((row) => [row.epoch, row.loss, row.accuracy, row.validationLoss, row.validationAccuracy, row.lr, row.seconds]));
  const places = [...text.matchAll(/<rect class="place"[^>]*><title>(.*?)<\/title>/g)].map(([, told]) => told);
  expect(places).toHaveLength(2 * 2 * 5);
  expect(places.slice(0, 3)).toEqual(["Epoch 1: training 2.0000, validation 2.5000", "Epoch 2: training 1.0000, validation 1.2500", "Epoch 3: training 0.6667"]);
  expect(text).not.toMatch(/NaN|Infinity|undefined/);
  expect(text.match(/<svg [^>]*role="img"[^>]*aria-label="Loss by epoch\. Epochs 1 to 5\. Last values: training 0\.4000, validation 0\.5000\."/g)).toHaveLength(2);
  expect(await shown(rate, found(3, { rows }))).toContain("Epoch 5: learning rate 0.02<");
});

test.each([[1, {}], [3, { loss: NaN, validationLoss: Infinity }], [3, { accuracy: 0.5, validationAccuracy: 0.5, lr: 0, loss: 0, validationLoss: 0 }], [5000, {}]])(
  "%i epochs with %j are drawn within the picture, and stay small",
  async (count, change) => {
    const findings = found(3, { rows: rowsOf(count).map((row) => ({ ...row, ...change })) });
    for (const text of [await shown(curves, findings), await shown(rate, findings)]) {
      expect(text.replaceAll(/<title>.*?<\/title>|aria-label="[^"]*"|<(tspan|data)[^>]*>[^<]*/g, "")).not.toMatch(/NaN|Infinity|undefined/);
      for (const [, x, y] of text.matchAll(/translate\(([\d.-]+),([\d.-]+)\)/g)) expect(Number(x) >= 0 && Number(x) <= 704 && Number(y) >= 0 && Number(y) <= 320).toBe(true);
      expect(text.match(/class="place"/g)!.length).toBeLessThanOrEqual(4 * 401);
      expect(text.length).toBeLessThan(1_000_000);
    }
  },
);

test("up to twenty classes have a whole matrix, more the pairs that are confused most", async () => {
  const text = await shown(confusion, found(20));
  const [matrix, pairs] = text.split(`class="pairs"`);
  expect(cells(matrix!).slice(1).map((row) => row.slice(1).map(Number))).toEqual(found(20).evaluation.confusion);
  expect(cells(pairs!).slice(1, 3)).toEqual([["class 19", "class 18", "19", "95.0\u00a0%"], ["class 18", "class 17", "18", "94.7\u00a0%"]]);
  const many = await shown(confusion, found(1000));
  expect(many).not.toContain(`class="matrix"`);
  expect(cells(many)).toHaveLength(1 + 25);
  expect(cells(many)[1]).toEqual(["class 999", "class 998", "999", "99.9\u00a0%"]);
  expect(many.length).toBeLessThan(10_000);
});

test("of any number of labels, there is no matrix, but the share of images that are all right", async () => {
  const findings = found();
  const multi: Findings = { ...findings, network: { ...findings.network, labelKind: "multi" }, evaluation: { ...findings.evaluation, confusion: undefined, exactMatch: 0.375, microF1: 0.6 } };
  expect(await confusion.render(multi)).toEqual({ missing: expect.stringContaining("any number of classes") });
  expect(await shown(classes, multi)).toContain("Of 37.50\u00a0% of the images every decision is right. F1 of all decisions together is 0.6000");
  expect(await shown(summary, multi)).toContain("37.50\u00a0%");
  expect(await shown(wrong, multi)).toContain("of cat, taken for");
});

test("classes, layers and the card have their numbers", async () => {
  expect(cells(await shown(classes, found()))[2]).toEqual(["class 1", "0.2500", "0.5000", "0.3333", "2"]);
  expect(cells(await shown(architecture, found())).slice(0, 3)).toEqual([["name", "kind", "output", "parameters", "multiply-adds"], ["conv1", "Conv2d", "4 × 8 × 8", "1,234", "5,678"], ["total", "", "", "1,234", "5,678"]]);
  const text = await shown(card, found());
  expect(cells(text)[3]).toEqual(["class 2", "1,002", "1,002"]);
  expect(text).toContain("<dt>Licence of the data</dt><dd>not recorded</dd>");
  expect(text).toContain("accuracy 0.5432, loss (nats) 0.1235, macro F1 0.4000, on 77 validation images");
});

test.each([[1, "grey"], [3, "colours"], [4, "colours with alpha"]])("a PNG of %i channels (%s) has the pixels that were given", async (channels) => {
  const [width, height] = [5, 3];
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => (channels === 4 && i % 4 === 3 ? 255 : (i * 37) % 256));
  const png = await encodePng({ data, width, height, channels });
  const colours = Math.min(channels, 3);
  const { data: read } = await preprocess(png, { size: [height, width], fit: "stretch", channels: colours, background: [0, 0, 0] });
  const expected = Array.from({ length: colours }, (_, c) => Array.from({ length: width * height }, (_, i) => data[i * channels + c]!)).flat();
  expect([...read].map((value) => Math.round(value * 255))).toEqual(expected);
});

const network = (options: object = {}): Model => new ResNet([[1, 8]], { numClasses: 4, seed: 2, ...options });

/** Writes a report, and reads it. */
async function written(...[model, history, data, options]: [Model, Parameters<typeof report>[1], Parameters<typeof report>[2], object?]): Promise<string> {
  const file = join(folder, "written.html");
  await report(model, history, data, { file, ...options });
  return readFile(file, "utf8");
}

const ids = (text: string) => [...text.matchAll(/<section id="([^"]*)"/g)].map(([, id]) => id);

test("a report has what was measured, and every section", async () => {
  using model = network();
  const [train, validation] = [pictures(64), pictures(48)];
  const history = await fit(model, { train, validation }, { epochs: 2, batchSize: 16, optimizer: sgd({ lr: 0.001 }), schedule: cosine(), augment: [flip(), mixup()], onStep() {} });
  const text = await written(model, history, { train, validation }, { title: "A & B", mistakes: 5 });
  expect(ids(text)).toEqual(SECTIONS.map(({ id }) => id));
  const measured = await evaluate(model, validation, { byClass: true });
  expect(text).toContain(`on 48 validation images`);
  expect(text).toContain(`<dd>${measured.loss.toFixed(4)}</dd>`);
  const wrong = await mistakes(model, validation, { count: 5 });
  expect([...text.matchAll(/<span class="where">image (\d+)/g)].map(([, index]) => Number(index))).toEqual(wrong.map(({ index }) => index));
  // Twelve samples that were mixed, and nothing but pictures within the page.
  expect(text.match(/alt="Augmented image of 0\.\d\d /g)).toHaveLength(12);
  expect(text.match(/<img /g)).toHaveLength(12 + 2 * wrong.length + 1);
  const json = /<pre><code>(.*?)<\/code><\/pre>/s.exec(text)![1]!.replaceAll("&quot;", `"`);
  expect(JSON.parse(json)).toMatchObject({ epochs: 2, batchSize: 16, optimizer: { name: "sgd", lr: 0.001 }, schedule: { name: "cosine" }, augment: [{ name: "flip" }, { name: "mixup" }] });
  expect(text).toContain("<title>A &amp; B</title>");
});

test("samples are those that the run's first step takes", async () => {
  using model = network({ seed: 7 });
  const train = pictures(40);
  const compare = async (options: FitOptions, pass: BatchOptions) => {
    const history = await fit(model, train, { batchSize: 16, augment: [flip()], ...options });
    const text = await written(model, history, { train }, { mistakes: 0 });
    const [first] = await collect(train, { batchSize: 16, ...pass });
    const { labels, mixed } = first!;
    const told = Array.from(labels, (label, i) => (mixed ? `${mixed.share.toFixed(2)} ${label}, ${(1 - mixed.share).toFixed(2)} ${mixed.labels[i]}` : String(label)));
    expect([...text.matchAll(/alt="Augmented image of ([^"]*)"/g)].map(([, words]) => words)).toEqual(told.slice(0, 12));
  };
  await compare({ shuffle: false }, {});
  await compare({}, { shuffle: true, seed: 7 });
  await compare({ initialEpoch: 1, epochs: 2, seed: 3 }, { shuffle: true, seed: 3, epoch: 2 });
  await compare({ sampler: balancedSampler() }, { sampler: balancedSampler(), seed: 7 });
  await compare({ overfitBatches: 1 }, {});
  await compare({ augment: [mixup()] }, { augment: [mixup()], shuffle: true, seed: 7 });
  await compare({ augment: [cutmix()], batchSize: 5 }, { augment: [cutmix()], batchSize: 5, shuffle: true, seed: 7 });
});

test("height stands before width", async () => {
  using model = network({ inChannels: 1 });
  const data = fromArrays({ images: new Uint8Array(4 * 33 * 17), shape: [4, 1, 33, 17], labels: [0, 1, 2, 3] });
  const text = await written(model, undefined, data, { mistakes: 0 });
  expect(text).toContain("<title>ResNet at 33 × 17</title>");
  expect(text).toContain("33 × 17 (height × width), 1 channel");
  const transform = { size: [33, 17], fit: "stretch", channels: 1, background: [0, 0, 0] } as const;
  expect(await shown(card, found(3, { network: { ...found().network, transform } }))).toContain("brought to 33 × 17 (height × width, stretched");
  expect(await shown(filters, found(3, { filters: { picture: PICTURE, name: "conv1", shape: [4, 1, 3, 5], count: 4 } }))).toContain("4 filters of 3 × 5 (height × width)");
});

test("all seeds are told: the first weights', the training's and the split's", async () => {
  const options = { split: { seed: 5, fraction: 0.25, stratified: true } };
  const told = await shown(summary, found(3, { trainingSeed: 9, data: { ...found().data, ...options } }));
  expect(told).toContain("<dt>Seeds</dt><dd>first weights 8, training 9, split 5 (25.0\u00a0% for validation, of each class)</dd>");
  using model = network({ seed: 4 });
  const data = pictures(24).split({ fraction: 0.5, stratified: false, seed: 6 });
  const history = await fit(model, data, { epochs: 1, batchSize: 8 });
  expect(await written(model, history, data)).toContain("<dd>first weights 4, training 4, split 6 (50.0\u00a0% for validation)</dd>");
  expect(await rejection(report(model, history, data, { file: "x.html", title: " " }))).toMatchObject({ code: "ERR_INVALID_ARGUMENT", message: 'title: expected a text that is not blank, got " "' });
});

test("rows alone, no history, no validation and other channels are reported as far as they go", async () => {
  using model = network();
  const data = pictures(24);
  const given = await written(model, rowsOf(3), data);
  expect(ids(given)).toContain("curves");
  expect(given).toContain("What the training was told is known of a History that fit gave in this process");
  const without = await written(model, undefined, { train: data }, { mistakes: 0 });
  expect(without).toContain("No history of a training was given: report(model, history, data) takes the one that fit gives.");
  expect(without).toContain("There is no validation set");
  expect(ids(without)).not.toContain("mistakes");
  using other = network({ inChannels: 5 });
  const strange = await written(other, [], pictures(8, { channels: 5 }));
  expect(strange).toContain("Images of 5 channels cannot be shown: that takes 1 (grey) or 3 (red, green, blue).");
  expect(strange).toContain("The history has no epoch");
  expect(strange).toContain("The first convolution reads 5 channels");
});

test("images of any number of classes have their classes, no matrix, and mistakes with all their names", async () => {
  using model = network({ inChannels: 1, numClasses: 3 });
  const labels = { data: Array.from({ length: 36 }, (_, i) => Number(i % 5 < 2)), shape: [12, 3] };
  const data = fromArrays({ images: new Uint8Array(12 * 64).map((_, i) => (i * 31) % 256), shape: [12, 1, 8, 8], labels, classNames: ["cat", "dog", "fox"] });
  const history = await fit(model, { train: data, validation: data }, { epochs: 1, augment: [flip()] });
  const text = await written(model, history, { train: data, validation: data });
  const { exactMatch } = await evaluate(model, data);
  expect(text).toContain(`Of ${(100 * exactMatch!).toFixed(2)}\u00a0% of the images every decision is right.`);
  expect(ids(text)).toEqual([...SECTIONS.map(({ id }) => id).filter((id) => id !== "confusion"), "missing"]);
  const wrong = await mistakes(model, data);
  expect(text.match(/alt="Image \d+, of /g)).toHaveLength(wrong.length);
  expect(text).toMatch(/<dt>Answers<\/dt><dd>for each class, whether an image is of it<\/dd>/);
});

test("numbers that are not finite are told, and there are no mistakes without probabilities", async () => {
  using model = new CifarResNet({ depth: 20, numClasses: 4, inChannels: 1 });
  const data = fromArrays({ images: new Float32Array(4 * 64).fill(3.4e38), shape: [4, 1, 8, 8], labels: [0, 1, 2, 3] });
  const text = await written(model, undefined, data);
  expect(text).toContain("<dd>NaN</dd>");
  expect(text).toContain("There are no probabilities: ");
  expect(ids(text)).not.toContain("mistakes");
});

test("pictures are shown as they were, whatever was done to their numbers", async () => {
  using model = network({ inChannels: 3 });
  const images = Uint8Array.from({ length: 4 * 3 * 200 * 100 }, (_, i) => (i * 7) % 256);
  const bytes = fromArrays({ images, shape: [4, 3, 200, 100], labels: [0, 1, 2, 3] });
  const normalised = bytes.normalised({ mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4] });
  const drawn = (text: string) => [...text.matchAll(/<figure><div><img[^>]*src="([^"]*)" width="(\d+)" height="(\d+)"/g)].map(([, src, width, height]) => ({ src: src!, size: [Number(width), Number(height)] }));
  const all = async (data: Dataset) => drawn(await written(model, undefined, data));
  const [plain] = await all(bytes);
  expect(plain!.size).toEqual([64, 128]);
  const { data } = await preprocess(Buffer.from(plain!.src.split(",")[1]!, "base64"), { size: [128, 64], fit: "stretch", channels: 3, background: [0, 0, 0] });
  expect(data.length).toBe(3 * 128 * 64);
  // Other numbers may be mistaken for other classes, in another order.
  expect((await all(normalised)).map(({ src }) => src)).toContain(plain!.src);
});

test("mistakes have heat over them where the evidence is, if the network has maps", async () => {
  using model = sequential([relu(), globalAvgPool2d()], { inChannels: 3 });
  // Green at one pixel, labelled as red.
  const images = new Uint8Array(3 * 4);
  images[4 + 2] = 200;
  const data = fromArrays({ images, shape: [1, 3, 2, 2], labels: [0] });
  const text = await written(model, undefined, data);
  expect(text).toContain("the evidence for its most probable class is (Grad-CAM");
  const drawn = [...text.matchAll(/<img[^>]*src="([^"]*)"/g)].map(([, src]) => Buffer.from(src!.split(",")[1]!, "base64"));
  const pixels = await preprocess(drawn, { size: [2, 2], fit: "stretch", channels: 3, background: [0, 0, 0] });
  const [plain, heated] = [pixels.data.subarray(0, 12), pixels.data.subarray(12)].map((values) => [...values].map((value) => Math.round(255 * value)));
  expect(plain).toEqual([...images]);
  // A quarter of what was there, and three quarters of red.
  expect(heated).toEqual([0, 0, 173, 0, 0, 0, 95, 0, 0, 0, 15, 0]);
  using flat = sequential([globalAvgPool2d()], { inChannels: 3 });
  const without = await written(flat, undefined, data);
  expect([without.match(/<img /g)?.length, without.includes("Grad-CAM")]).toEqual([1, false]);
});

test("what cannot be is refused before anything is computed, and leaves no file", async () => {
  using model = network({ inChannels: 1 });
  const [data, history] = [pictures(8), rowsOf(2)];
  const there = await mkdtemp(join(folder, "refused-"));
  const file = join(there, "a.html");
  const refused = async (...args: unknown[]) => rejection(report(...(args as Parameters<typeof report>)));
  const invalid = (start: RegExp) => ({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(start) });
  expect(await refused(model, history, data)).toMatchObject(invalid(/^file: expected a path/));
  expect(await refused(model, history, data, { file: 3 })).toMatchObject(invalid(/^file: /));
  expect(await refused(model, history, data, { file, titel: "x" })).toMatchObject(invalid(/did you mean title\?/));
  expect(await refused(model, history, data, { file, mistakes: 201 })).toMatchObject(invalid(/^mistakes: expected an integer from 0 to 200, got 201$/));
  expect(await refused({}, history, data, { file })).toMatchObject(invalid(/^model: /));
  expect(await refused(model, null, data, { file })).toMatchObject(invalid(/^history: expected a History or an array of its rows, got null$/));
  const [row] = rowsOf(1);
  expect(await refused(model, [row, { epoch: 2 }], data, { file })).toMatchObject(invalid(/^history\[1\]\.loss: expected a number, got undefined$/));
  expect(await refused(model, [{ ...row, lr: "x" }], data, { file })).toMatchObject(invalid(/^history\[0\]\.lr: expected a number, got "x"$/));
  expect(await refused(model, [{ ...row, accuracy: 2 }], data, { file })).toMatchObject(invalid(/^history\[0\]\.accuracy: expected a number from 0 to 1, got 2$/));
  // Who leaves one out hears of that.
  expect(await refused(model, data, { file })).toMatchObject(invalid(/^history: expected a History or an array of its rows, got an object of type Dataset$/));
  expect(await refused(model, history, undefined, { file })).toMatchObject(invalid(/^data: expected a data set .*, or \{ train, validation \} of such, got undefined$/));
  expect(await refused(model, history, [], { file })).toMatchObject(invalid(/^data/));
  expect(await refused(model, history, { labels: [1] }, { file })).toMatchObject(invalid(/^data/));
  expect(await refused(model, history, { train: data, validation: 3 }, { file })).toMatchObject(invalid(/^data\.validation: /));
  expect(await refused(model, history, pictures(8, { classes: 5 }), { file })).toMatchObject({ code: "ERR_LABEL" });
  const nowhere = join(there, "none", "a.html");
  expect(await refused(model, history, data, { file: nowhere })).toMatchObject({ code: "ERR_IO", message: `cannot write ${nowhere}: there is no folder ${join(there, "none")}` });
  await mkdir(join(there, "folder"));
  expect(await refused(model, history, data, { file: join(there, "folder") })).toMatchObject({ code: "ERR_IO", message: expect.stringContaining("it is a folder") });
  model.dispose();
  expect(await refused(model, history, data, { file })).toMatchObject({ code: "ERR_DISPOSED" });
  expect(await readdir(there)).toEqual(["folder"]);
});

test("an abort leaves the file that is there, and nothing else", async () => {
  using model = network({ inChannels: 1 });
  const there = await mkdtemp(join(folder, "aborted-"));
  const file = join(there, "a.html");
  await writeFile(file, "before");
  const reason = new Error("enough");
  expect(await rejection(report(any(null), undefined, any(null), { file, signal: AbortSignal.abort(reason) }))).toBe(reason);
  for (const after of [0, 5, 40]) {
    const controller = new AbortController();
    const running = rejection(report(model, undefined, pictures(4000), { file, batchSize: 1, signal: controller.signal }));
    setTimeout(() => controller.abort(reason), after);
    expect(await running).toBe(reason);
  }
  expect([await readFile(file, "utf8"), await readdir(there)]).toEqual(["before", ["a.html"]]);
});
