// What a disk may have after a power cut, from the record of a process's calls (shims/files.c). A file's bytes are safe once the file was synced after
// they were written; names of a folder once the folder was. Of what is not safe each piece may be there or not: of bytes any pages, of a folder's names
// those of all changes up to some moment.

import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

const KINDS = ["", "open", "write", "sync", "rename", "link", "unlink", "mkdir", "rmdir", "truncate", "other"];
const PAGE = 4096;
/** The file in which the process says what it has done. */
const ACKNOWLEDGED = "acknowledged";

/** The calls of a record, with paths from the folder. */
export function recorded(log, folder) {
  const bytes = readFileSync(log);
  const calls = [];
  for (let at = 0; at < bytes.length;) {
    const [kind, a, b, truncates] = [0, 4, 8, 12].map((field) => bytes.readInt32LE(at + field));
    const [offset, length] = [16, 24].map((field) => Number(bytes.readBigInt64LE(at + field)));
    const paths = [bytes.toString("utf8", at + 32, at + 32 + a), bytes.toString("utf8", at + 32 + a, at + 32 + a + b)];
    at += 32 + a + b;
    const call = { kind: KINDS[kind], truncates: truncates === 1, offset, length, path: inside(paths[0], folder), to: inside(paths[1], folder) };
    if (call.kind === "write") {
      call.bytes = bytes.subarray(at, at + length);
      at += length;
    }
    calls.push(call);
  }
  return calls;
}

const inside = (path, folder) => (path === folder ? "." : path.slice(folder.length + 1));

/** What the process said, each with the number of calls that were made before. */
export function acknowledgements(calls) {
  return calls.flatMap((call, before) => (call.kind === "write" && call.path === ACKNOWLEDGED ? [{ before, said: JSON.parse(call.bytes.toString()) }] : []));
}

/**
 * What may be on the disk if the power goes after so many calls: `chosen` is asked of each piece that is not safe whether it is there, and of how
 * many of a folder's changes. A tree of folders (Map) and files (Buffer).
 */
export function afterCut(calls, { isThere, upTo }) {
  const root = { names: new Map(), changes: [] };
  /** By path, as the process saw it. */
  const seen = (path) => (path === "." ? root : path.split("/").reduce((folder, name) => folder?.names?.get(name), root));
  const change = (folder, apply) => folder.changes.push({ apply, isSafe: false });
  for (const call of calls) {
    if (call.path === ACKNOWLEDGED) continue;
    const [folder, name] = [seen(dirname(call.path)), basename(call.path)];
    const node = seen(call.path);
    if (call.kind === "mkdir" || (call.kind === "open" && node === undefined)) {
      const made = call.kind === "mkdir" ? { names: new Map(), changes: [] } : { pieces: [] };
      folder.names.set(name, made);
      change(folder, (there) => there.set(folder, name, made));
    } else if (call.kind === "open") {
      if (call.truncates) node.pieces.push({ end: 0, isSafe: false });
    } else if (call.kind === "write") {
      // A file that has no name any more is nobody's.
      if (!node) continue;
      for (let from = 0; from < call.bytes.length;) {
        const to = Math.min(call.bytes.length, from + PAGE - ((call.offset + from) % PAGE));
        node.pieces.push({ offset: call.offset + from, bytes: call.bytes.subarray(from, to), isSafe: false });
        from = to;
      }
    } else if (call.kind === "truncate") node?.pieces.push({ end: call.length, isSafe: false });
    else if (call.kind === "sync") for (const piece of node?.pieces ?? node?.changes ?? []) piece.isSafe = true;
    else if (call.kind === "rename" || call.kind === "link") {
      const [target, as] = [seen(dirname(call.to)), basename(call.to)];
      if (call.kind === "rename") folder.names.delete(name);
      target.names.set(as, node);
      change(target, (there) => {
        if (call.kind === "rename") there.remove(folder, name);
        there.set(target, as, node);
      });
    } else if (call.kind === "unlink" || call.kind === "rmdir") {
      folder.names.delete(name);
      change(folder, (there) => there.remove(folder, name));
    }
  }
  return contentOf(root, { isThere, upTo }, namesAfter(root, upTo));
}

/** The names of each folder, of which the first changes are there. */
function namesAfter(root, upTo) {
  const all = new Map();
  const namesOf = (folder) => all.get(folder) ?? all.set(folder, new Map()).get(folder);
  const there = { set: (folder, name, node) => namesOf(folder).set(name, node), remove: (folder, name) => namesOf(folder).delete(name) };
  const visited = new Set();
  const visit = (folder) => {
    if (visited.has(folder)) return;
    visited.add(folder);
    const safe = folder.changes.findLastIndex(({ isSafe }) => isSafe) + 1;
    for (const { apply } of folder.changes.slice(0, upTo(safe, folder.changes.length))) apply(there);
    for (const node of namesOf(folder).values()) if (node.names) visit(node);
  };
  visit(root);
  return namesOf;
}

function contentOf(node, choice, namesOf) {
  if (node.names) return new Map([...namesOf(node)].map(([name, inner]) => [name, contentOf(inner, choice, namesOf)]));
  let content = Buffer.alloc(0);
  for (const { offset, bytes, end, isSafe } of node.pieces) {
    if (!isSafe && !choice.isThere()) continue;
    if (end !== undefined) content = end <= content.length ? content.subarray(0, end) : Buffer.concat([content, Buffer.alloc(end - content.length)]);
    else {
      if (content.length < offset + bytes.length) content = Buffer.concat([content, Buffer.alloc(offset + bytes.length - content.length)]);
      else content = Buffer.from(content);
      bytes.copy(content, offset);
    }
  }
  return content;
}

/** Makes such a tree. */
export async function lay(tree, folder) {
  await mkdir(folder, { recursive: true });
  for (const [name, node] of tree) await (node instanceof Map ? lay(node, join(folder, name)) : writeFile(join(folder, name), node));
}
