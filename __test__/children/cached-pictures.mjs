// Reads all pictures of a folder once, with room for so many bytes of them; prints by how many bytes memory grew behind the first thirty.
import { imageFolder } from "../../dist/index.js";

const [folder, cache] = process.argv.slice(2);
const { train } = await imageFolder(folder, { size: 256, cache: Number(cache) });
await train.take(30).measure();
const before = process.memoryUsage.rss();
await train.measure();
process.stdout.write(String(process.memoryUsage.rss() - before));
