import type { Dataset } from "./data.js";
import type { HeatMap } from "./grad-cam.js";
import { encodePng, type Pixels } from "./png.js";
import type { Findings, Missing, Shown } from "./report/findings.js";
import type { SignalOptions } from "./signal.js";
import type { Tensor } from "./tensor.js";
import { preprocess } from "./transform.js";

/** Pixels of the longer side that a picture within a page has at most. */
const MOST_SIDE = 128;
/** Filters that are shown at most, and how many stand side by side. */
const MOST_FILTERS = 256;
const ACROSS = 8;
/** Pixels of a filter's side, about, and between filters; twice as many on the page. */
const FILTER_SIDE = 24;
const GAP = 4;
/** The colour of evidence, and how much of it there is where the most evidence is. */
const HEAT = [230, 60, 20];
const MOST_HEAT = 0.75;

/** Why the images of a data set cannot be shown, if they cannot. */
export function unshowable({ imageShape }: Dataset): Missing | undefined {
  const [channels] = imageShape;
  if (channels === 1 || channels === 3) return undefined;
  return { missing: `Images of ${channels} channels cannot be shown: that takes 1 (grey) or 3 (red, green, blue).` };
}

/** An image as a picture, and the same with its heat over it, if that was given. */
interface ShownImage {
  readonly picture: Shown;
  readonly heat?: Shown;
}

/** The images of a batch as they were before they were normalised, each a picture that a page can hold. */
export async function shownImages({ data, shape }: Tensor, { transform }: Dataset, { signal, heat }: SignalOptions & { readonly heat?: readonly HeatMap[] }): Promise<ShownImage[]> {
  const [images = 0, channels = 1, height = 1, width = 1] = shape;
  const [area, { mean = [], std = [] }] = [height * width, transform?.normalise ?? {}];
  const value = (i: number) => {
    const channel = Math.floor(i / area) % channels;
    return data[i]! * (std[channel] ?? 1) + (mean[channel] ?? 0);
  };
  const [least, most] = ends(data.length, value);
  const drawn = async (pixels: Pixels) => shown(await shrunk(pixels, signal));
  const all: ShownImage[] = [];
  for (let image = 0; image < images; image++) {
    const bytes = new Uint8Array(area * channels);
    for (let i = 0; i < bytes.length; i++) {
      const [place, channel] = [Math.floor(i / channels), i % channels];
      bytes[i] = Math.round((255 * (value((image * channels + channel) * area + place) - least)) / (most - least));
    }
    const pixels = { data: bytes, width, height, channels };
    all.push({ picture: await drawn(pixels), ...(heat && { heat: await drawn(heated(pixels, heat[image]!.heat.data)) }) });
  }
  return all;
}

/** A picture that takes the colour of evidence where heat is, from 0 to 1 for each pixel. */
function heated({ data, width, height, channels }: Pixels, heat: Float32Array): Pixels {
  const coloured = new Uint8Array(width * height * 3);
  for (let i = 0; i < coloured.length; i++) {
    const [place, channel] = [Math.floor(i / 3), i % 3];
    const share = MOST_HEAT * heat[place]!;
    coloured[i] = Math.round((1 - share) * data[place * channels + Math.min(channel, channels - 1)]! + share * HEAT[channel]!);
  }
  return { data: coloured, width, height, channels: 3 };
}

/** What black and white stand for: 0 and 1, where nothing lies far beyond, as it does if the caller normalised the numbers. */
function ends(length: number, value: (i: number) => number): [black: number, white: number] {
  let [least, most] = [0, 1];
  for (let i = 0; i < length; i++) {
    least = Math.min(least, value(i));
    most = Math.max(most, value(i));
  }
  return most - least < 1.01 ? [0, 1] : [least, most];
}

/** A picture of at most so many pixels, as Pillow makes it smaller. */
async function shrunk(pixels: Pixels, signal: AbortSignal | undefined): Promise<Pixels> {
  const { data, width, height, channels } = pixels;
  const scale = MOST_SIDE / Math.max(width, height);
  if (scale >= 1) return pixels;
  const size = [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale))] as const;
  const { data: planes } = await preprocess({ data, info: { width, height, channels } }, { size, fit: "stretch", channels, background: [255, 255, 255] }, { signal });
  const area = size[0] * size[1];
  const bytes = Uint8Array.from({ length: area * channels }, (_, i) => Math.round(255 * planes[(i % channels) * area + Math.floor(i / channels)]!));
  return { data: bytes, width: size[1], height: size[0], channels };
}

async function shown(pixels: Pixels, zoom = 1): Promise<Shown> {
  const png = await encodePng(pixels);
  const src = `data:image/png;base64,${png.toString("base64")}`;
  return { src, width: pixels.width * zoom, height: pixels.height * zoom };
}

/** The filters of the first convolution side by side, or why they cannot be shown. */
export async function shownFilters(weights: ReadonlyMap<string, Tensor>): Promise<Findings["filters"]> {
  const [name, tensor] = [...weights].find(([, { shape }]) => shape.length === 4) ?? [];
  if (name === undefined || tensor === undefined) return { missing: "The network has no convolution." };
  const { data, shape } = tensor;
  const [filters, channels, height, width] = shape as [number, number, number, number];
  if (channels !== 1 && channels !== 3) return { missing: `The first convolution reads ${channels} channels: filters can be shown of 1 (grey) or 3 (red, green, blue).` };
  if (height * width === 1) return { missing: "The first convolution’s filters are of one pixel each." };
  const count = Math.min(filters, MOST_FILTERS);
  const [across, down] = [Math.min(ACROSS, count), Math.ceil(count / ACROSS)];
  const zoom = Math.max(1, Math.round(FILTER_SIDE / width));
  const [wide, high] = [width * zoom + GAP, height * zoom + GAP];
  const sheet = { width: across * wide - GAP, height: down * high - GAP, channels: 4 };
  const pixels = new Uint8Array(sheet.width * sheet.height * 4);
  for (let filter = 0; filter < count; filter++) {
    const values = data.subarray(filter * channels * height * width, (filter + 1) * channels * height * width);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
    const [left, top] = [(filter % ACROSS) * wide, Math.floor(filter / ACROSS) * high];
    for (let place = 0; place < height * width * zoom * zoom; place++) {
      const [y, x] = [Math.floor(place / (width * zoom)), place % (width * zoom)];
      const weight = Math.floor(y / zoom) * width + Math.floor(x / zoom);
      const colour = [0, 1, 2].map((c) => Math.round(127.5 + (127.5 * values[Math.min(c, channels - 1) * height * width + weight]!) / largest));
      pixels.set([...colour, 255], ((top + y) * sheet.width + left + x) * 4);
    }
  }
  return { picture: await shown({ data: pixels, ...sheet }, 2), name, shape, count };
}
