// Preprocesses a picture as those of a folder are; prints what is wrong with it.
import { imageFolder, preprocess } from "../../dist/index.js";

const [folder, picture] = process.argv.slice(2);
const { train } = await imageFolder(folder, { size: 8 });
await preprocess(picture, train.transform).catch(({ code, message }) => process.stdout.write(`${code}: ${message}`));
