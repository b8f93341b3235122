// What is loaded when the first folder is written or read.
export { architectureOf, classesOf } from "./architectures.js";
export { cardOf, MARK } from "./card.js";
export { configOf, type Header, parseConfig, type Read } from "./config.js";
export { fetched, parseAddress, WEIGHTS } from "./fetched.js";
export { notesOn } from "./own-config.js";
