// The loops that take a network's time, as the compiler made them for NEON: they multiply and add in one instruction, keep their sums in
// registers, call nothing, and come near what binds them.

import { counted, innermost } from "./instructions.mjs";
import { CORES, modelled, TILE, VALUES } from "./model.mjs";

/** Least share of what binds a loop that each core comes to, but for those whose `least` is below: there is something to be won. */
const LEAST = 0.8;
/** Of a tile's function the longest loop that `fused` multiply-adds or more are in. */
const TILES = [
  { title: "direct", at: /conv2d::cpu::direct::tile::run/, fused: 192 },
  { title: "direct, weights", at: /conv2d::cpu::direct::weights::patch_tiles/, fused: 24 },
  { title: "Winograd's products", at: /conv2d::cpu::winograd::gemm::output/, fused: 48 },
  { title: "Winograd's products, weights", at: /conv2d::cpu::winograd::gemm::weights/, fused: 24 },
  { title: "grouped", at: /conv2d::cpu::grouped::tile::compute::neon::<4, 1, 14>/, fused: 36 },
  { title: "grouped, weights", at: /conv2d::cpu::grouped::weights::add_images/, fused: 24 },
  { title: "depthwise", at: /conv2d::cpu::grouped::tile::compute::neon::<1, 1, 14>/, fused: 36 },
  { title: "depthwise, weights", at: /conv2d::cpu::grouped::weights::add_images/, fused: 12, most: 12 },
  { title: "linear", at: /matrix::dots/, fused: 24 },
  { title: "linear, gradients", at: /matrix::sum_rows/, fused: 16 },
];
/** All loops that do something to each value. */
const PLANES = [
  { title: "norm, statistics", at: /batch_norm::cpu::plane::moments/ },
  { title: "norm", at: /batch_norm::cpu::plane::normalise/ },
  { title: "norm, sums of gradients", at: /batch_norm::cpu::plane::gradient_sums/ },
  { title: "norm, gradient", at: /batch_norm::cpu::plane::input_gradient/ },
];
/** Kernels of straight code between loops: multiply-adds of the whole function. */
const STRAIGHT = ["source", "target", "gradient"].map((name) => ({ title: `Winograd's ${name}`, at: new RegExp(`conv2d::cpu::winograd::tiles::${name}`), fused: 100 }));

/** What is not as it must be, and a line for each hot loop. */
export function looked(found, mca) {
  const [broken, lines] = [[], [["", "multiply-adds", "instructions", ...CORES.map((core) => `${core}: cycles`)]]];
  const texts = ({ instructions }) => instructions.map(({ text }) => text);
  for (const kernel of found) {
    if (texts(kernel).some((text) => /<fmaf?(?:@plt)?>/.test(text))) broken.push(`${kernel.name}: calls fmaf`);
  }
  const named = (at) => found.filter(({ name }) => at.test(name));
  const loopsOf = (at) => named(at).flatMap(({ instructions }) => innermost(instructions)).map((loop) => ({ loop, ...counted(loop) }));
  const hold = ({ title, least = LEAST }, { loop, fused, length, calls }, binding) => {
    const shares = CORES.map((core) => ({ core, ...modelled(mca, core, loop, binding) }));
    lines.push([title, fused, length, ...shares.map(({ cycles, share }) => `${cycles.toFixed(1)}, ${Math.round(100 * share)} %`)]);
    for (const { core, share } of shares) {
      if (share < least) broken.push(`${title}: expected ${100 * least} % of what binds it on ${core}, got ${Math.round(100 * share)} %`);
    }
    if (calls > 0) broken.push(`${title}: expected no calls in a loop, got ${calls}`);
  };
  for (const tile of TILES) {
    const { title, at, fused, most = Infinity } = tile;
    const loops = loopsOf(at).filter((loop) => loop.fused >= fused && loop.fused <= most && loop.stack === 0);
    // What lies between others' blocks may seem to be a loop.
    const [loop] = loops.toSorted((a, b) => a.branches - b.branches || b.fused - a.fused);
    if (loop) hold(tile, loop, TILE);
    else broken.push(`${title}: expected a loop of ${fused} multiply-adds that keeps its sums in registers, got none`);
  }
  for (const plane of PLANES) {
    const loops = loopsOf(plane.at).filter(({ fused }) => fused >= 4);
    if (loops.length === 0) broken.push(`${plane.title}: expected loops, got none`);
    for (const loop of loops) hold(plane, loop, VALUES);
  }
  for (const { title, at, fused } of STRAIGHT) {
    const most = Math.max(0, ...named(at).map((kernel) => counted(texts(kernel)).fused));
    if (most < fused) broken.push(`${title}: expected ${fused} multiply-adds or more, got ${most}`);
  }
  return { broken, lines: lines.map((row) => row.map((cell, i) => (i === 0 ? String(cell).padEnd(30) : String(cell).padStart(20))).join("")) };
}
