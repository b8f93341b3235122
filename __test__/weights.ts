import { writeFile } from "node:fs/promises";
import type { Tensor } from "resnet-native";

/** Writes a safetensors file of f32 tensors. */
export async function writeWeights(path: string, tensors: Iterable<readonly [string, Tensor]>): Promise<void> {
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { data, shape }] of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  await writeFile(path, safetensors(header, Buffer.concat(parts)));
}

/** A safetensors file with the given header. */
export function safetensors(header: unknown, data: Uint8Array): Buffer {
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}
