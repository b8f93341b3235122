// This package's side of `npm run bench -- pictures`.

import { parseArgs } from "node:util";
import { flip, imageFolder, randomCrop } from "../../dist/index.js";
import { serve } from "./side.mjs";

const names = ["data", "threads", "batch-size", "size"];
const { values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
// Nothing is kept: each pass decodes all pictures.
const { train } = await imageFolder(values.data, { size: Number(values.size), fit: "stretch", normalise: "imagenet", cache: 0 });
const settings = { batchSize: Number(values["batch-size"]), shuffle: true, augment: [flip(), randomCrop({ padding: 8 })] };

await serve(
  { pictures: train.length },
  {
    async pass(_, epoch) {
      const began = performance.now();
      let pictures = 0;
      for await (const { labels } of train.batches({ ...settings, epoch, loaderThreads: Number(values.threads) })) pictures += labels.length;
      return { seconds: [(performance.now() - began) / 1000], pictures };
    },
  },
);
