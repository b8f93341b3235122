/** What PNG calls the pixels of so many channels: grey, colours, colours with alpha. */
const COLOUR_TYPES: Readonly<Record<number, number>> = { 1: 0, 3: 2, 4: 6 };
const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** Bytes (height, width, channels). */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

/** A PNG file of pixels of 1, 3 or 4 channels (W3C, PNG Specification, 2003); zlib does what there is to do. */
export async function encodePng({ data, width, height, channels }: Pixels): Promise<Buffer> {
  // Loading it takes longer than parsing all of the package.
  const { crc32, deflateSync } = await import("node:zlib");
  const chunk = (type: string, data: Buffer): Buffer => {
    const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
    const out = Buffer.alloc(8 + named.length);
    out.writeUInt32BE(data.length);
    out.set(named, 4);
    out.writeUInt32BE(crc32(named), 4 + named.length);
    return out;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, COLOUR_TYPES[channels]!], 8);
  const length = width * channels;
  // Each row begins with the number of its filter: 0, none.
  const rows = Buffer.alloc(height * (length + 1));
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * length, (y + 1) * length), y * (length + 1) + 1);
  return Buffer.concat([SIGNATURE, chunk("IHDR", header), chunk("IDAT", deflateSync(rows, { level: 9 })), chunk("IEND", Buffer.alloc(0))]);
}
