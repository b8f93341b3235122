// Which glibc a Linux addon asks for, read from the file: the section .gnu.version_r names libraries and versions.

import { readFileSync } from "node:fs";

const GNU_VERSION_NEEDED = 0x6ffffffe;

/** The newest version of glibc that a 64-bit little-endian ELF file needs, as [major, minor]. */
export function neededGlibc(file) {
  const bytes = readFileSync(file);
  const sections = sectionsOf(bytes);
  const needed = sections.find(({ type }) => type === GNU_VERSION_NEEDED);
  if (!needed) throw new Error(`${file}: names no versions of libraries`);
  const names = sections[needed.link].offset;
  const text = (offset) => bytes.toString("latin1", names + offset, bytes.indexOf(0, names + offset));
  const versions = [];
  for (const library of entries(bytes, needed.offset)) {
    for (const version of entries(bytes, library + bytes.readUInt32LE(library + 8))) {
      const [, major, minor] = /^GLIBC_(\d+)\.(\d+)/.exec(text(bytes.readUInt32LE(version + 8))) ?? [];
      if (major) versions.push([Number(major), Number(minor)]);
    }
  }
  return versions.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]).at(-1);
}

function sectionsOf(bytes) {
  const [start, size, count] = [Number(bytes.readBigUInt64LE(40)), bytes.readUInt16LE(58), bytes.readUInt16LE(60)];
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * size;
    return { type: bytes.readUInt32LE(at + 4), offset: Number(bytes.readBigUInt64LE(at + 24)), link: bytes.readUInt32LE(at + 40) };
  });
}

/** The offsets of a chain of entries; the distance to the next one is 12 bytes into each, 0 in the last. */
function entries(bytes, first) {
  const offsets = [first];
  for (let step; (step = bytes.readUInt32LE(offsets.at(-1) + 12)) > 0; ) offsets.push(offsets.at(-1) + step);
  return offsets;
}
