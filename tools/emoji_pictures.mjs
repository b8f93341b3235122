// A folder of small colour pictures for benchmark/recipes.mjs: each emoji as four companies draw it, by category; every fifth emoji, as all four
// draw it, is for validation.
//
//   npm install --prefix PACKAGES --ignore-scripts emoji-datasource-{google,twitter,apple,facebook}@16.0.0
//   node tools/emoji_pictures.mjs PACKAGES/node_modules FOLDER

import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const [packages, folder] = process.argv.slice(2);
const companies = ["google", "twitter", "apple", "facebook"];
const emoji = JSON.parse(readFileSync(join(packages, "emoji-datasource-google/emoji.json"), "utf8"));
for (const [i, { category, image }] of emoji.filter(({ category }) => category !== "Component").entries()) {
  const part = join(folder, i % 5 === 4 ? "val" : "train", category.toLowerCase().replaceAll(/[ &]+/g, "-"));
  mkdirSync(part, { recursive: true });
  for (const company of companies) {
    const file = join(packages, `emoji-datasource-${company}/img/${company}/64`, image);
    if (existsSync(file)) copyFileSync(file, join(part, `${company}-${image}`));
  }
}
