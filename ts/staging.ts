import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { addon, type NativeReplacement } from "./binding.js";
import { translated } from "./errors.js";

const LOCK = "lock";
const SUFFIX = ".tmp";
/** Milliseconds in which a folder that was just made gets its lock. */
const YOUNG = 1000;

/**
 * A hidden folder beside another, in which that one's files are made. It is locked as long as it is open, so that those which killed processes left
 * are told apart: they go when the next one of that name is made.
 */
export class Staging {
  readonly folder: string;
  readonly #lock: NativeReplacement;

  constructor(target: string) {
    // A name may be as long as the system allows, and this one is longer.
    const prefix = `.${basename(target).slice(0, 40)}.`;
    removeLeft(dirname(target), prefix);
    this.folder = join(dirname(target), `${prefix}${crypto.randomUUID()}${SUFFIX}`);
    mkdirSync(this.folder);
    try {
      this.#lock = lockOf(this.folder);
    } catch (error) {
      removeFolder(this.folder);
      throw error;
    }
  }

  /** Leaves it as it is, to be renamed. */
  unlock(): void {
    this.#lock.abandon();
  }

  /** Removes it, and what is in it. */
  remove(): void {
    this.unlock();
    removeFolder(this.folder);
  }
}

/** Makes what a folder has in it, by which names, outlast a power cut, where folders can be synced. */
export function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const opened = openSync(folder, "r");
  try {
    fsyncSync(opened);
  } catch (error) {
    // Some network and user file systems let nobody do that.
    if (!["EINVAL", "EPERM", "EACCES", "ENOTSUP", "ENOSYS"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  } finally {
    closeSync(opened);
  }
}

function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {
    // What stays is in nobody's way.
  }
}

/** A file that is locked as long as it is there, by the system, so that no kill leaves a lock behind. It removes those that nobody has locked. */
function lockOf(folder: string): NativeReplacement {
  return translated(() => new addon.NativeReplacement(join(folder, LOCK)));
}

function removeLeft(above: string, prefix: string): void {
  for (const name of readdirSync(above)) {
    if (!name.startsWith(prefix) || !name.endsWith(SUFFIX)) continue;
    const left = join(above, name);
    try {
      const there = statSync(left);
      if (there.isDirectory() && Date.now() - there.mtimeMs > YOUNG && !isOpen(left)) removeFolder(left);
    } catch {
      // What stays is in nobody's way.
    }
  }
}

function isOpen(folder: string): boolean {
  const probe = lockOf(folder);
  try {
    return readdirSync(folder).filter((name) => name.startsWith(`.${LOCK}.`)).length > 1;
  } finally {
    probe.abandon();
  }
}
