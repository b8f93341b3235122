// Sides of a comparison that take turns, so that what else the machine does meets them all.

import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Peer } from "./peer.mjs";
import { median } from "./report.mjs";

const WARM_UP = 3;
/** Milliseconds between turns, so that one side's threads sleep when the other's start. */
const REST = 300;

/** A side that runs this package's network `options.network` (networks.mjs), in a process of its own. */
export function nativeSide(name, { precision = "tf32", ...options }) {
  return new Peer(name, process.execPath, [peerFile("native_step.mjs"), ...workload(options), "--precision", precision]);
}

/** The options that every side's program has. */
export function workload({ network, data, threads, batchSize, channels, size }) {
  const options = { network, data, threads, "batch-size": batchSize, channels, size };
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

export function peerFile(name) {
  return fileURLToPath(new URL(`peers/${name}`, import.meta.url));
}

/**
 * Lets the sides take turns. By side: the seconds of every step by turn, their median, the peak memory so far, and the last
 * loss of each turn.
 */
export async function takeTurns(sides, run, rounds, steps) {
  const results = Object.fromEntries(sides.map(({ name }) => [name, { seconds: [], losses: [] }]));
  for (const side of sides) await side.ask({ run, steps: WARM_UP });
  const width = Math.max(...sides.map(({ name }) => name.length));
  for (let round = 1; round <= rounds; round += 1) {
    for (const side of sides) {
      await pause(REST);
      const { seconds, peakBytes, loss } = await side.ask({ run, steps });
      const result = results[side.name];
      result.seconds.push(seconds);
      result.peakBytes = peakBytes;
      if (loss !== undefined) result.losses.push(loss);
      console.log(`${run} ${round}/${rounds}  ${side.name.padEnd(width)}  ${median(seconds).toFixed(3)} s`);
    }
  }
  for (const result of Object.values(results)) result.median = median(result.seconds.flat());
  return results;
}

/** How many times as long `other` took as `one`: the median over turns, the lowest and the highest. */
export function ratio(one, other) {
  return spread(one.seconds.map((turn, round) => median(other.seconds[round]) / median(turn)));
}

/** The median, the lowest and the highest of some numbers. */
export function spread(values) {
  return { median: median(values), lowest: Math.min(...values), highest: Math.max(...values) };
}

/** A spread as text. */
export function spreadText({ median: middle, lowest, highest }) {
  return `${middle.toFixed(2)} (${lowest.toFixed(2)}–${highest.toFixed(2)})`;
}

/** The least and the most of some numbers. */
export function range(values, digits) {
  return [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits)).join("–");
}
