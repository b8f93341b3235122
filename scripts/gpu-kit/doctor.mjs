// What the addon finds, as a line of JSON.
import { deviceInfo } from "./package/dist/index.js";

console.log(JSON.stringify(deviceInfo()));
