import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";

/** A PNG file of pixels in red, green and blue (W3C, PNG Specification, 2003). */
export function png(width: number, height: number, pixel: (x: number, y: number) => readonly number[]): Buffer {
  // Each row begins with the number of its filter: 0, none.
  const rows = Array.from({ length: height }, (_, y) => [0, ...Array.from({ length: width }, (_, x) => pixel(x, y)).flat()]);
  return file(width, height, 2, chunk("IDAT", deflateSync(Uint8Array.from(rows.flat()))));
}

/** One of a pixel by a palette whose last colour lacks its blue. */
export function pngOfShortPalette(): Buffer {
  return file(1, 1, 3, chunk("PLTE", Buffer.alloc(5)), chunk("IDAT", deflateSync(Uint8Array.of(0, 0))));
}

function file(width: number, height: number, kind: number, ...chunks: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, kind], 8);
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  return Buffer.concat([signature, chunk("IHDR", header), ...chunks, chunk("IEND", Buffer.alloc(0))]);
}

function chunk(type: string, data: Buffer): Buffer {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length);
  out.write(type, 4);
  out.set(data, 8);
  out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
  return out;
}

/** Writes pictures of a class for each name, whose main colour is red, green or blue in turn. */
export async function colourFolder(folder: string, names: readonly string[], count: number): Promise<void> {
  for (const [i, name] of names.entries()) {
    await mkdir(join(folder, name), { recursive: true });
    for (let n = 0; n < count; n++) {
      const noise = (x: number, y: number, channel: number) => (n * 7 + x * 3 + y * 5 + channel) % 60;
      const picture = png(20, 16, (x, y) => [0, 1, 2].map((channel) => (channel === i % 3 ? 180 : 30) + noise(x, y, channel)));
      await writeFile(join(folder, name, `${n}.png`), picture);
    }
  }
}
