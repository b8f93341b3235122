//! Quantisation to bytes: a source's values to unsigned ones, weights to signed ones.
//!
//! ```text
//!   source    q = round(x / scale) + zero, 0 … 255                  one scale and zero for all channels, from the range that was seen
//!   weights   q = round(w / scale), −127 … 127                      a scale for each output
//!   target    y = sx · sw · (Σ qx·qw − zero · Σ qw) + bias          Σ over a kernel's places and channels: integers, exact in any order
//! ```
//!
//! Where products take signed bytes alone, those of the source are less 128, and so is the zero that sums are corrected by. Four bytes fill a word. A row of the source is 64 channels of a pixel; the padding of a map is the byte `zero`. Packed weights:
//! \[block of targets\]\[64 sources\]\[tap\]\[16 fours of sources\]\[16 targets\]\[4\], then the bias in f32, what `zero` adds to the sums,
//! as integers, and scales in f32. (Jacob et al., 2017, <https://arxiv.org/abs/1712.05877>.)

use crate::blocked::{self, LANES};
use crate::conv2d::cpu::disjoint::Disjoint;
use crate::conv2d::cpu::rounded::tile::{ROW, STEP};
use crate::conv2d::shape::{ConvShape, InputRange};
use crate::executor::Cpu;
use crate::simd::kernel;

/// Blocks of 16 channels of a row.
pub(in crate::conv2d::cpu::rounded) const BLOCKS: usize = 4;

/// Channels of a step.
pub(in crate::conv2d::cpu::rounded) const DEPTHS: usize = BLOCKS * LANES;

/// The largest weight; the smallest is its opposite.
const MOST: f32 = 127.0;

/// Added to a number of up to 22 bits it leaves the nearest integer in the lowest bits.
const TO_INTEGER: f32 = 12_582_912.0;

/// How a source's values become bytes.
#[derive(Clone, Copy)]
pub(in crate::conv2d::cpu::rounded) struct Quantizer {
    scale: f32,
    zero: u8,
    /// Whether bytes are written less 128.
    signed: bool,
}

impl Quantizer {
    /// The one whose bytes span a range, and zero in any case, which is exact.
    pub(in crate::conv2d::cpu::rounded) fn new(range: InputRange, signed: bool) -> Self {
        let (low, high) = (range.low.min(0.0), range.high.max(0.0));
        let scale = (high - low) / 255.0;
        if scale < f32::MIN_POSITIVE {
            return Self { scale: 1.0, zero: 0, signed };
        }
        Self { scale, zero: (-low / scale).round_ties_even() as u8, signed }
    }

    /// What a byte is changed by: signed, its highest bit.
    fn flipped(self) -> u8 {
        if self.signed {
            0x80
        } else {
            0
        }
    }

    pub(in crate::conv2d::cpu::rounded) fn zero_word(self) -> f32 {
        f32::from_bits(u32::from_ne_bytes([self.zero ^ self.flipped(); 4]))
    }

    /// What each weight adds to the sum of a source of zeros.
    fn offset(self) -> i32 {
        i32::from(self.zero) - if self.signed { 128 } else { 0 }
    }
}

kernel! {
    /// Quantises 64 channels of each of `count` pixels, `pixel` floats apart, to rows; of a block that is null the weights are zero. What is
    /// beyond the range becomes its end, and NaN zero or the lower end.
    pub(in crate::conv2d::cpu::rounded) fn pixels<S>(quantizer: Quantizer, blocks: [*const f32; BLOCKS], pixel: usize, count: usize, rows: *mut f32) {
        let (factor, zero, flipped) = (1.0 / quantizer.scale, f32::from(quantizer.zero), quantizer.flipped());
        for index in 0..count {
            for (block, &start) in blocks.iter().enumerate() {
                // SAFETY: the caller grants the pixels and as many rows.
                unsafe {
                    let row = rows.add(index * ROW).cast::<[u8; LANES]>().add(block);
                    if start.is_null() {
                        *row = [quantizer.zero ^ flipped; LANES];
                        continue;
                    }
                    let values = &*start.add(index * pixel).cast::<[f32; LANES]>();
                    let mut bytes = [0; LANES];
                    for lane in 0..LANES {
                        let value = values[lane] * factor + zero;
                        let value = if value > 0.0 { value } else { 0.0 };
                        let value = if value < 255.0 { value } else { 255.0 };
                        bytes[lane] = (value + TO_INTEGER).to_bits() as u8 ^ flipped;
                    }
                    *row = bytes;
                }
            }
        }
    }
}

/// The scale of an output's weights, as [`quantize_row`] gives it.
fn scale_of(weights: &[f32]) -> f32 {
    let largest = weights.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
    // Rounded up to 17 bits, so that its products with a byte are exact and the largest one's is 127.
    f32::from_bits(((largest / MOST).to_bits() + 0x7f) & !0x7f)
}

fn quantized(weight: f32, scale: f32) -> i8 {
    if scale == 0.0 {
        return 0;
    }
    (weight / scale).round_ties_even() as i8
}

/// Rounds an output's weights, which are finite, to bytes; returns the scale by which they become numbers again. Those numbers are
/// exact in f32, and rounded once more they give the same bytes and scale.
pub fn quantize_row(weights: &[f32], bytes: &mut [i8]) -> f32 {
    let scale = scale_of(weights);
    for (byte, &weight) in bytes.iter_mut().zip(weights) {
        *byte = quantized(weight, scale);
    }
    scale
}

/// Words of all that is packed.
pub(in crate::conv2d::cpu::rounded) fn packed_len(shape: &ConvShape) -> usize {
    blocked::blocks(shape.out_channels) * (block_len(shape) + 3 * LANES)
}

/// Words of a block of targets.
fn block_len(shape: &ConvShape) -> usize {
    shape.in_channels.div_ceil(DEPTHS) * shape.kernel[0] * shape.kernel[1] * STEP
}

/// Writes weights and what is done with their sums.
pub(in crate::conv2d::cpu::rounded) fn pack(
    cpu: &Cpu,
    shape: &ConvShape,
    quantizer: Quantizer,
    params: &[f32],
    packed: &mut [f32],
) {
    let (outputs, inputs) = (shape.out_channels, shape.in_channels);
    let (taps, targets) = (shape.kernel[0] * shape.kernel[1], blocked::blocks(outputs) * LANES);
    let (params, bias) = params.split_at(shape.weight_len());
    let (steps, ends) = packed[..packed_len(shape)].split_at_mut(blocked::blocks(outputs) * block_len(shape));
    ends.fill(0.0);
    let ends = Disjoint::new(ends);
    cpu.pool.chunks_mut(steps, block_len(shape), |block, steps| {
        steps.fill(0.0);
        // SAFETY: a float has four bytes, each of which may be anything.
        let bytes = unsafe { std::slice::from_raw_parts_mut(steps.as_mut_ptr().cast::<i8>(), size_of_val(steps)) };
        for (lane, output) in (block * LANES..outputs.min((block + 1) * LANES)).enumerate() {
            let weights = &params[output * inputs * taps..][..inputs * taps];
            let (scale, mut sum) = (scale_of(weights), 0i32);
            for (input, of_input) in weights.chunks_exact(taps).enumerate() {
                let (part, depth) = (input / DEPTHS, input % DEPTHS);
                for (tap, &weight) in of_input.iter().enumerate() {
                    let byte = quantized(weight, scale);
                    let word = ((part * taps + tap) * ROW + depth / 4) * LANES + lane;
                    bytes[word * 4 + depth % 4] = byte;
                    sum += i32::from(byte);
                }
            }
            // SAFETY: each output has its own.
            unsafe {
                *ends.at(output) = bias.get(output).copied().unwrap_or_default();
                *ends.at(targets + output) = f32::from_bits((quantizer.offset() * sum) as u32);
                *ends.at(2 * targets + output) = scale * quantizer.scale;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    fn bytes_of(range: [f32; 2], values: [f32; LANES], isa: Isa) -> Vec<u8> {
        let quantizer = Quantizer::new(InputRange { low: range[0], high: range[1] }, false);
        let (null, mut row) = (std::ptr::null(), [0f32; ROW]);
        pixels(isa, quantizer, [values.as_ptr(), null, null, values.as_ptr()], 0, 1, row.as_mut_ptr());
        row.iter().flat_map(|word| word.to_bits().to_ne_bytes()).collect()
    }

    #[test]
    fn values_become_the_nearest_byte_within_the_range() {
        let mut values = [0.0; LANES];
        values[..9].copy_from_slice(&[0.0, 255.0, 1.4, 1.5, 2.5, 300.0, -3.0, f32::NAN, f32::INFINITY]);
        for isa in Isa::available() {
            let row = bytes_of([0.0, 255.0], values, isa);
            assert_eq!(row[..9], [0, 255, 1, 2, 2, 255, 0, 0, 255], "{}", isa.name());
            assert_eq!(row[16..48], [0; 32]);
            assert_eq!(row[48..], row[..16]);
            let row = bytes_of([-51.0, 204.0], values, isa);
            assert_eq!(row[..9], [51, 255, 52, 52, 54, 255, 48, 0, 255], "{}", isa.name());
            assert_eq!(row[16..48], [51; 32]);
        }
    }

    #[test]
    fn zero_is_a_byte_of_any_range() {
        for range in [[0.0, 0.0], [3.0, 7.0], [-7.0, -3.0], [-1e-3, 9.0], [-1e-44, 1e-44]] {
            let quantizer = Quantizer::new(InputRange { low: range[0], high: range[1] }, false);
            let row = bytes_of(range, [0.0; LANES], Isa::Portable);
            assert_eq!(row, vec![quantizer.zero; 64], "{range:?}");
        }
    }

    #[test]
    fn weights_on_the_grid_stay_there() {
        for scale in [1.0, 0.1, 3e-5, 7e8] {
            let weights: Vec<f32> = (-40..60).map(|index| (index as f32 * 0.37).sin() * scale).collect();
            let mut bytes = [vec![0; weights.len()], vec![0; weights.len()]];
            let first = quantize_row(&weights, &mut bytes[0]);
            let again: Vec<f32> = bytes[0].iter().map(|&byte| f32::from(byte) * first).collect();
            assert!(weights.iter().zip(&again).all(|(weight, again)| (weight - again).abs() <= 0.5001 * first));
            assert_eq!(quantize_row(&again, &mut bytes[1]), first);
            assert_eq!(bytes[0], bytes[1]);
            assert!(bytes[0].iter().any(|byte| byte.abs() == 127));
        }
        assert_eq!(quantize_row(&[0.0; 3], &mut [1; 3]), 0.0);
    }
}
