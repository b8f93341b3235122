//! Bytes that each kernel moves to and from a GPU's memory, told from what it is launched with: what it reads, once, and what it writes,
//! once. So caches, and reading the same again, are left out: it is the least that a kernel written this way can move.

use super::device::Argument;
use super::{padded, OCTET};

const F32: u64 = 4;
const F64: u64 = 8;
const LANES: u64 = OCTET as u64;

/// A launch as a formula sees it.
struct Launch<'a> {
    blocks: u64,
    /// Bytes of an activation's element.
    element: u64,
    arguments: &'a [Argument],
}

impl Launch<'_> {
    fn word(&self, place: usize) -> u64 {
        self.arguments[place].0
    }

    fn int(&self, place: usize) -> u64 {
        self.pair(place)[0]
    }

    /// Two numbers in a word.
    fn pair(&self, place: usize) -> [u64; 2] {
        [self.word(place) & u64::from(u32::MAX), self.word(place) >> 32]
    }

    /// 1 for a true argument, or one that leads somewhere.
    fn is(&self, place: usize) -> u64 {
        u64::from(self.word(place) != 0)
    }

    fn lanes(&self, place: usize) -> u64 {
        padded(self.int(place) as usize) as u64
    }

    /// Maps of so many octets.
    fn octets(&self, number: u64) -> u64 {
        number * LANES * self.element
    }

    /// Octets of all inputs and of all outputs of a pooling, which has as many of one of them as its first argument says.
    fn pooled(&self, of_outputs: bool) -> [u64; 2] {
        let [input, output] = [self.int(2) * self.int(3), self.int(4) * self.int(5)];
        let total = self.word(0);
        if of_outputs {
            [per(total, output) * input, total]
        } else {
            [total, per(total, input) * output]
        }
    }

    /// Octets of the maps that blocks sum over, and bytes of so many sums of each slice and lane, which the last of them reads again.
    fn summed(&self, sums: u64) -> (u64, u64) {
        let (pixels, octets) = (self.word(0), self.int(1));
        (pixels * octets, 2 * sums * pixels.div_ceil(self.int(4).max(1)) * octets * LANES * F64)
    }

    /// Bytes of plain filters, in f32, of packed ones and of so many biases, of all convolutions of a launch.
    fn filters(&self, biases: u64) -> u64 {
        let every = (0..self.int(0) as usize).map(|number| {
            let at = |word| self.pair(1 + number * 9 + word);
            let ([filters, channels], [height, width]) = (at(4), at(5));
            let ([rows, columns], [lanes, _]) = (at(7), at(8));
            let bias = self.is(1 + number * 9 + 2) * biases * filters * F32;
            filters * (channels * height * width * F32 + rows * columns * lanes * self.element) + bias
        });
        every.sum()
    }

    /// Of a matrix product: rows of x and y in the type of the activations, the matrix between them in f32.
    fn linear(&self, places: [usize; 3], accumulates: u64) -> u64 {
        let [rows, from, to] = places;
        let maps = self.lanes(from) + self.lanes(to) * (1 + accumulates);
        self.int(rows) * maps * self.element + self.int(from) * self.int(to) * F32
    }

    /// So many passes over parameters, their gradients or what an optimiser keeps of each.
    fn passes(&self, number: u64) -> u64 {
        number * self.word(0) * F32
    }

    /// Of an elementwise kernel, so many maps.
    fn maps(&self, number: u64) -> u64 {
        number * self.word(0) * self.element
    }

    /// Values before and after a resampling, of so many bytes each.
    fn resampled(&self, before: u64, after: u64) -> u64 {
        per(self.word(0), self.int(3)) * self.int(2) * before + self.word(0) * after
    }

    fn loss(&self, gradients: usize, per_sample: u64, for_all: u64) -> u64 {
        self.blocks * (self.lanes(0) * self.element * (1 + self.is(gradients)) + per_sample + 2 * F64) + for_all
    }
}

fn per(number: u64, parts: u64) -> u64 {
    number.checked_div(parts).unwrap_or(0)
}

/// What a launch of a kernel moves; None if its formula is missing here. Places are those of its parameters in the `.cu`.
pub(super) fn bytes(kernel: &str, blocks: u32, arguments: &[Argument]) -> Option<u64> {
    let (name, element) = match kernel.strip_suffix("_bf16") {
        Some(name) => (name, 2),
        None => (kernel.strip_suffix("_f32")?, 4),
    };
    let at = Launch { blocks: u64::from(blocks), element, arguments };
    let total = || at.word(0);
    Some(match name {
        "accumulate" => at.passes(2 + at.is(1)),
        "adam" => at.passes(7),
        "add_forward" => at.maps(3),
        "add_gradient" => at.maps(2 + at.is(3)),
        "average" => at.passes(3),
        "avg_pool_forward" => at.octets(at.pooled(true).iter().sum()),
        "avg_pool_backward" => {
            let [input, output] = at.pooled(false);
            at.octets(input * (1 + at.is(14)) + output)
        }
        "bias_gradient" => {
            let (octets, sums) = at.summed(1);
            at.octets(octets) + sums + at.int(2) * F32
        }
        "binary_cross_entropy" => at.loss(7, at.int(0), (4 + 2 * at.int(0)) * F64),
        "binary_cross_entropy_sum" | "cross_entropy_sum" => 2 * (at.int(0) + 1) * F64,
        "concat_copy" => {
            let copied = per(total(), at.int(1)) * at.int(2).min(at.int(1));
            (copied + total() * (1 + at.is(7))) * element
        }
        "conv_epilogue" => at.octets(total() * (2 + at.is(3))) + at.is(2) * at.int(1) * F32,
        "conv_import" => {
            let per_pixel = padded((at.int(4) * at.int(4) * at.int(1)) as usize) as u64 / LANES;
            let images = per(total(), per_pixel * at.int(7) * at.int(8));
            images * at.int(1) * at.int(2) * at.int(3) * F32 + at.octets(total())
        }
        "conv_pack" => at.filters(2),
        // Those that a norm cancels are cleared, those that are a norm's too are read.
        "conv_unpack" => {
            let copied = |at_word: usize| u64::from(at.pair(at_word + 8)[1] != 0) * at.pair(at_word + 3)[1] * F32;
            at.filters(1) + (0..at.int(0) as usize).map(|number| copied(1 + number * 9)).sum::<u64>()
        }
        "cross_entropy" => at.loss(8, 2 * F32 + 2 * F64, at.is(6) * at.int(0) * F64),
        "dropout" => at.octets(2 * total()),
        "from_nchw" => total() * (at.int(2) * F32 + at.lanes(2) * element),
        "global_avg_pool_forward" => at.octets(total() * (at.int(2) + 1)),
        "global_avg_pool_backward" => at.octets(total() * (1 + at.is(4)) + per(total(), at.int(2))),
        "linear_forward" => at.linear([0, 1, 2], 0) + at.is(5) * at.int(2) * F32,
        "linear_input_gradient" => at.linear([0, 2, 1], at.is(5)),
        "linear_weight_gradient" => at.linear([0, 1, 2], 0),
        "lion" => at.passes(5),
        "max_pool_forward" => {
            let [input, output] = at.pooled(true);
            at.octets(input + output) + output * LANES * at.is(14)
        }
        "norm_pool_forward" => {
            let [input, output] = at.pooled(true);
            at.octets(input + output) + output * LANES
        }
        "max_pool_backward" => {
            let [input, output] = at.pooled(false);
            at.octets(input * (1 + at.is(14)) + output) + output * LANES
        }
        "muon_look_ahead" => at.passes(4),
        "muon_move" => at.passes(3),
        "muon_product" => {
            let [rows, depth, columns] = [0, 1, 2].map(|place| at.int(place));
            (rows * depth + depth * columns + rows * columns * (1 + at.is(8))) * F32
        }
        "norm_apply" => at.octets(total() * (2 + at.is(3))),
        "norm_backward" => at.octets(3 * total()),
        "norm_backward_sums" => {
            // Where the output is there, what the ReLU stopped is written back.
            let (octets, sums) = at.summed(2);
            at.octets(octets * (2 + 2 * at.is(6) * at.is(11))) + sums
        }
        "norm_fold" => 2 * at.int(0) * (at.int(1) + 1) * F32,
        "norm_moments" => {
            let (octets, sums) = at.summed(2);
            at.octets(octets) + sums
        }
        "norm_save_running" => (2 * at.int(0) + 3 * at.int(1)) * F32,
        "norm_update" => {
            let channels = |number: usize| at.pair(2 + number * 6 + 4)[1] * (6 + at.is(2 + number * 6 + 1));
            (0..at.int(0) as usize).map(channels).sum::<u64>() * F32
        }
        "pad_channels_forward" => per(total(), at.int(1)) * at.int(8) * element + at.octets(total()),
        "pad_channels_backward" => {
            let [_, output] = at.pooled(false);
            per(output, at.int(1)) * at.int(8) * element + at.octets(total() * (1 + at.is(12)))
        }
        "relu_forward" | "silu_forward" => at.maps(2),
        "relu_backward" | "silu_backward" => at.maps(3),
        "resample_double" | "resample_single" => at.resampled(F32, F32),
        "resample_fixed" | "resample_single_of_bytes" => at.resampled(1, F32),
        "resample_fixed_to_bytes" => at.resampled(1, 1),
        "rmsprop" => at.passes(5 + 2 * at.is(11)),
        "sgd" => at.passes(3 + 2 * at.is(9)),
        "sum_of_squares" => at.passes(1) + at.blocks * F64,
        "to_nchw" => total() * (element + F32),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::bytes;
    use crate::cuda::device::Argument;

    /// All kernels, by both types of elements.
    const NAMES: &[&str] = &include!(concat!(env!("OUT_DIR"), "/kernel_names.rs"));

    #[test]
    fn every_kernel_has_a_formula() {
        let arguments: Vec<Argument> = (0..32).map(|_| Argument(0)).collect();
        assert!(NAMES.len() > 50, "{NAMES:?}");
        let without: Vec<_> = NAMES.iter().filter(|name| bytes(name, 1, &arguments).is_none()).collect();
        assert!(without.is_empty(), "{without:?}");
        assert_eq!(bytes("nothing_f32", 1, &arguments), None);
    }
}
