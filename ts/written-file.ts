import { open, rename, rm, stat } from "node:fs/promises";
import { ResNetError } from "./errors.js";

/**
 * Puts what is made in a file's place, as a whole or not at all. Whether it can be written shows before the work begins, as `ERR_IO`;
 * errors of the work are passed on.
 */
export async function writeMade(file: string, make: () => Promise<string | Uint8Array>): Promise<void> {
  const temporary = `${file}.${crypto.randomUUID()}`;
  const io = async <T>(does: () => Promise<T>): Promise<T> =>
    does().catch((cause: Error) => {
      throw new ResNetError("ERR_IO", `cannot write ${file}: ${cause.message}`, { cause });
    });
  if ((await stat(file).catch(() => undefined))?.isDirectory()) throw new ResNetError("ERR_IO", `cannot write ${file}: it is a folder; expected the name of a file`);
  const handle = await io(async () => open(temporary, "wx"));
  try {
    try {
      const content = await make();
      await io(async () => handle.writeFile(content));
    } finally {
      await handle.close();
    }
    await io(async () => rename(temporary, file));
  } finally {
    await rm(temporary, { force: true });
  }
}
