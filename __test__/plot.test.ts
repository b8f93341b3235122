import { type EpochRow, History, plot } from "resnet-native";
import { expect, test } from "vitest";
import { any } from "./pictures.js";

/** A history of so many epochs. */
function epochs(count: number, change: (row: EpochRow) => Partial<EpochRow> = () => ({})): EpochRow[] {
  return Array.from({ length: count }, (_, i) => {
    const loss = 0.1 + 2 / (i + 1);
    const validation = { validationLoss: loss + 0.1, validationAccuracy: 1 - 0.5 / (i + 1) };
    const row = { epoch: i + 1, loss, accuracy: 0.5, ...validation, lr: 0.1, seconds: 1 };
    return { ...row, ...change(row) };
  });
}

const trainingOnly = () => ({ validationLoss: undefined, validationAccuracy: undefined });
const unescaped = (text: string) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** A tag, or text. */
const TOKEN = /^(?:<(\/?)([a-z]+)((?: [a-z-]+="[^"<&]*")*)(\/?)>|((?:[^<>&]|&(?:amp|lt|gt);)+))/i;

/** The texts between the tags, and the tags, as `name` or `name.class`. Fails if it is no XML. */
function parsed(svg: string) {
  const open: string[] = [];
  const seen = new Map<string, string[]>();
  let rest = svg.trim();
  while (rest !== "") {
    const [all, close, name, attributes = "", single, text] = TOKEN.exec(rest) ?? expect.fail(rest.slice(0, 60));
    if (text !== undefined) seen.get(open.at(-1)!)!.push(unescaped(text));
    else if (close === "/") expect(open.pop()!.split(".")[0]).toBe(name);
    else {
      const names = [...attributes.matchAll(/ ([a-z-]+)=/gi)].map(([, attribute]) => attribute);
      expect(new Set(names).size).toBe(names.length);
      const key = [name, ...(/ class="([^"]*)"/.exec(attributes)?.[1]?.split(" ") ?? [])].join(".");
      if (!seen.has(key)) seen.set(key, []);
      if (single === "") open.push(key);
    }
    rest = rest.slice(all.length);
  }
  expect(open).toEqual([]);
  return { texts: (key: string) => seen.get(key) ?? [], names: [...seen.keys()] };
}

const CURVE = /<g class="curve"><path class="(\w+)" d="([^"]*)"[^>]*dasharray="([^"]*)"[^>]*>(.*?)<\/g>/g;

/** Of each curve, how many points its line has, and how many marks. */
function curves(svg: string): { name: string; dash: string; line: number; marks: number }[] {
  return [...svg.matchAll(CURVE)].map(([, name, path, dash, marks]) => {
    const [line, points] = [path!.match(/[ML]/g), marks!.match(/ point"/g)];
    return { name: name!, dash: dash!, line: line?.length ?? 0, marks: points?.length ?? 0 };
  });
}

test.each([1, 2, 10, 100, 1000])("%i epochs make three curves, whole epochs and a legend", async (count) => {
  const svg = await plot(epochs(count));
  const { texts } = parsed(svg);
  const drawn = curves(svg);
  expect(drawn.map(({ name }) => name)).toEqual(["loss", "validationLoss", "validationAccuracy"]);
  expect(drawn.map(({ line }) => line)).toEqual([count, count, count]);
  expect(new Set(drawn.map(({ dash }) => dash)).size).toBe(3);
  expect(drawn.every(({ marks }) => (count <= 10 ? marks === count : marks > 5 && marks < 20))).toBe(true);
  const named = texts("text.label.epoch").map(Number);
  expect(named).toEqual([...new Set(named)].filter((epoch) => Number.isInteger(epoch) && epoch >= 1 && epoch <= count));
  expect(named.length).toBeGreaterThan(0);
  expect(named.at(-1)).toBe(count);
  const label = ["training loss ", "validation loss ", "validation accuracy ", "loss (nats)", "epoch"];
  expect(texts("text.label")).toEqual(expect.arrayContaining(label));
  expect(texts("text.validationAccuracy")).toEqual(expect.arrayContaining(["0", "1.0", "accuracy (0 to 1)"]));
});

test("without validation there is one curve and one axis for it", async () => {
  const svg = await plot(epochs(3, trainingOnly));
  expect(curves(svg)).toEqual([{ name: "loss", dash: "none", line: 3, marks: 3 }]);
  expect(parsed(svg).names).not.toContain("text.validationAccuracy");
  expect(svg).not.toContain(">validation");
});

test("it is told in words, with the last values", async () => {
  const svg = await plot(epochs(4), { title: "A run" });
  const { texts } = parsed(svg);
  expect(svg).toMatch(/^<svg [^>]*role="img"[^>]*><title>A run<\/title><desc>/);
  expect(texts("desc")).toEqual([
    "Epochs 1 to 4. Last values: training loss 0.6000, validation loss 0.7000, validation accuracy 0.8750.",
  ]);
  expect(texts("tspan.title")).toEqual(["0.6000", "0.7000", "0.8750"]);
});

test("a History is drawn as its rows are, and the same one always alike", async () => {
  const history = new History();
  history.rows.push(...epochs(5));
  const drawing = plot(history);
  history.rows.push({ ...epochs(6)[5]! });
  expect(await drawing).toBe(await plot(epochs(5)));
});

test("values that are not finite, and missing ones, are gaps", async () => {
  const gaps: Record<number, Partial<EpochRow>> = {
    2: { loss: NaN, validationLoss: Infinity, validationAccuracy: undefined },
    4: { loss: -Infinity, validationLoss: undefined, validationAccuracy: NaN },
  };
  const svg = await plot(epochs(50, ({ epoch }) => gaps[epoch] ?? {}));
  parsed(svg);
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  // Epoch 3 stands alone: on no line, so it is a point.
  const whole = curves(await plot(epochs(50)));
  expect(curves(svg)).toEqual(whole.map((curve) => ({ ...curve, line: 48, marks: expect.any(Number) })));
  expect(curves(svg).every(({ marks }, i) => marks > whole[i]!.marks)).toBe(true);
  const nothing = await plot(epochs(3, () => ({ loss: NaN, validationLoss: NaN, validationAccuracy: NaN })));
  expect(curves(nothing).map(({ line, marks }) => [line, marks])).toEqual([[0, 0], [0, 0], [0, 0]]);
  expect(parsed(nothing).texts("tspan.title")).toEqual(["NaN", "NaN", "NaN"]);
});

test.each([0, 1e-9, 8, 1e30, -3])("a loss of %d stays within the picture", async (loss) => {
  const svg = await plot(epochs(3, ({ epoch }) => ({ loss: epoch === 1 ? loss : 0.3 })));
  expect(svg).not.toMatch(/NaN|Infinity/);
  const places = [...svg.matchAll(/translate\(([\d.-]+),([\d.-]+)\)/g)].map(([, x, y]) => [Number(x), Number(y)]);
  expect(places.length).toBeGreaterThan(9);
  for (const [x, y] of places) expect(x! >= 0 && x! <= 640 && y! >= 0 && y! <= 400).toBe(true);
});

test("a hostile title is only text", async () => {
  const title = `</title><script>alert("1")</script> & ]]> <img src=x onerror='y'> \u0000\ud800`;
  const svg = await plot(epochs(2), { title, width: 4096 });
  const { texts, names } = parsed(svg);
  expect(texts("title")).toEqual([title.replace("\u0000\ud800", "\ufffd\ufffd")]);
  expect(texts("text.title").join(" ")).toBe(texts("title")[0]);
  expect(names.map((name) => name.split(".")[0])).not.toContain("script");
  expect(svg.replace("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:|url\(|@import|href/);
});

test("a long title takes two lines and an ellipsis", async () => {
  for (const title of ["residual networks ".repeat(100), "W".repeat(1e5), "😀".repeat(200)]) {
    const lines = parsed(await plot(epochs(2), { title })).texts("text.title");
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatch(/[^\ufffd\s]…$/);
    expect(lines.every((line) => line.length < 80)).toBe(true);
  }
});

test("the theme is the reader's, or the one that is asked for", async () => {
  const [auto, light, dark] = await Promise.all(
    [undefined, "light" as const, "dark" as const].map((theme) => plot(epochs(2), { theme })),
  );
  expect(auto).toBe(await plot(epochs(2), { theme: "auto" }));
  const ground = (svg: string) => [...svg.matchAll(/\.ground\{color:(#\w+)\}/g)].map(([, colour]) => colour);
  expect(ground(light!)).toEqual(["#ffffff"]);
  expect(ground(dark!)).toHaveLength(1);
  expect(ground(auto!)).toEqual([...ground(light!), ...ground(dark!)]);
  expect(auto).toContain("@media(prefers-color-scheme:dark)");
  expect(light! + dark!).not.toContain("@media");
});

test("it is as large as asked for", async () => {
  expect(await plot(epochs(2))).toContain('viewBox="0 0 640 400" width="640" height="400"');
  const small = await plot(epochs(2), { width: 400, height: 300 });
  expect(small).toContain('viewBox="0 0 400 300" width="400" height="300"');
});

test.each<[string, unknown, unknown, string]>([
  ["no epochs", [], {}, "history: expected at least 1 epoch, got 0"],
  ["an empty History", new History(), {}, "history: expected at least 1 epoch, got 0"],
  ["no history", undefined, {}, "history: expected a History or an array of its rows, got undefined"],
  ["no rows", [1], {}, "history[0]: expected a row of a History, got 1"],
  ["a row that is null", [...epochs(1), null], {}, "history[1]: expected a row of a History, got null"],
  ["a text for a loss", [{ epoch: 1, loss: "1" }], {}, 'history[0].loss: expected a number, got "1"'],
  ["a row without its loss", [{ epoch: 1 }], {}, "history[0].loss: expected a number, got undefined"],
  ["half an epoch", [{ epoch: 1.5, loss: 1 }], {}, "history[0].epoch: expected an integer of at least 0, got 1.5"],
  ["an epoch twice", [...epochs(2), ...epochs(1)], {}, "history[2].epoch: expected an epoch after 2, got 1"],
  ["per cent", epochs(1, () => ({ validationAccuracy: 90 })), {}, "history[0].validationAccuracy: expected a number from 0 to 1, got 90"],
  ["an unknown theme", epochs(1), { theme: "sepia" }, 'theme: expected "auto" or "light" or "dark", got "sepia"'],
  ["a small width", epochs(1), { width: 10 }, "width: expected an integer from 400 to 4096, got 10"],
  ["half a pixel", epochs(1), { height: 400.5 }, "height: expected an integer from 300 to 4096, got 400.5"],
  ["no title", epochs(1), { title: 5 }, "title: expected a string, got 5"],
  ["a misspelt option", epochs(1), { them: "dark" }, "got them (did you mean theme?)"],
])("%s is refused", async (_, history, options, message) => {
  await expect(plot(any(history), any(options))).rejects.toMatchObject({
    name: "ResNetError",
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringContaining(message),
  });
});

test("losses too small for a scale are drawn as 0", async () => {
  const svg = await plot(epochs(2, ({ epoch }) => ({ loss: epoch * 5e-324, ...trainingOnly() })));
  expect(parsed(svg).texts("text.label")).toContain("0.2");
  expect(svg).not.toContain("NaN");
});
