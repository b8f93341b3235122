// npm run bench -- pictures: how fast pictures are read, decoded, resized, augmented and normalised, beside PyTorch's DataLoader with
// torchvision's transforms v2 and Pillow, which resizes tensors or Pillow's images. The pictures are written by the first run.
//
//   --data FOLDER    default out/bench/pictures
//   --count N        pictures that are written if the folder is not there, default 2000
//   --threads N      loader threads, and DataLoader's workers; default all cores
//   --batch-size N   default 64
//   --size N         default 224
//   --rounds N       turns, default 5

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { table } from "../dist/table.js";
import { parse, threads } from "./options.mjs";
import { Peer, reasonOf } from "./peer.mjs";
import { machine, root, save } from "./report.mjs";
import { peerFile, ratio, spreadText, takeTurns } from "./turns.mjs";

const python = process.env["RESNET_NATIVE_PYTHON"] ?? "python3";

export async function main(args) {
  const options = parse(args, { data: join(root, "out/bench/pictures"), count: 2000, threads, batchSize: 64, size: 224, rounds: 5 });
  const { data, count } = options;
  if (!existsSync(data)) execFileSync(python, [peerFile("pictures.py"), "--make", String(count), "--data", data], { stdio: "inherit" });
  const shared = ["--data", data, "--threads", options.threads, "--batch-size", options.batchSize, "--size", options.size].map(String);
  const ours = new Peer("resnet-native", process.execPath, [peerFile("native_pictures.mjs"), ...shared]);
  const others = ["tensor", "pillow"].map((first) => {
    return new Peer(`PyTorch, resizing ${first === "tensor" ? "tensors" : "Pillow's images"}`, python, [peerFile("pictures.py"), ...shared, "--first", first]);
  });
  const sides = [ours];
  const told = [await ours.read()];
  for (const side of others) {
    try {
      told.push(await side.read());
      sides.push(side);
    } catch (error) {
      console.log(`${side.name} is left out: ${reasonOf(error)}`);
    }
  }
  const { pictures } = told[0];
  const results = await takeTurns(sides, "pass", options.rounds, 1);
  for (const side of sides) await side.close();
  const rows = sides.map(({ name }) => {
    const { median, peakBytes } = results[name];
    const beside = name === ours.name ? "" : spreadText(ratio(results[ours.name], results[name]));
    return [name, (pictures / median).toFixed(0), beside, `${(peakBytes / 1e6).toFixed(0)} MB`];
  });
  console.log(`\n${table(["", "pictures/s", "ours is so many times as fast", "peak memory"], rows, 1)}`);
  console.log(`\n${await save("pictures", { machine: await machine(), options, told, results })}`);
}
