// Where a Chromium is: the file that RESNET_NATIVE_CHROMIUM names, or the first of the usual places.

import { existsSync } from "node:fs";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];

/** Its file, if there is one. */
export const chromium = [process.env.RESNET_NATIVE_CHROMIUM ?? "", ...PLACES].find((file) => file !== "" && existsSync(file));

/** What is said where there is none. */
export const NO_CHROMIUM = "there is no Chromium here: apt-get install chromium, or RESNET_NATIVE_CHROMIUM names one";
