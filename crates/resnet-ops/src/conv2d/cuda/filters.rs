//! Filters on their way from the flat storage of parameters to cuDNN's order, and their gradients' way back: those of many convolutions in
//! one launch.

use super::layout;
use crate::conv2d::{Conv2d, Packing, Unpacking};
use crate::cuda::{Address, Argument, Cuda};
use crate::{Buffer, Result, View};
use candle_core::bail;

/// Convolutions whose filters the arguments of a launch have room for, words that tell of one, and weights that a block moves at a time: as
/// in conv2d.cu.
const MOST: usize = 56;
const WORDS: usize = 9;
const TILE: usize = 2304;
const THREADS: usize = 64;

/// The filters of a convolution as a kernel is told of them.
struct Filters<'a> {
    conv: &'a Conv2d,
    plain: Address,
    packed: Address,
    bias: Address,
    /// How far behind `plain` the gradient is that becomes the bias's; 0 where there is none.
    same: i32,
}

impl Filters<'_> {
    /// Blocks that work on them.
    fn blocks(&self) -> Result<usize> {
        let shape = self.conv.shape();
        let (channels, room) =
            (shape.in_channels / shape.groups, (TILE / shape.kernel.iter().product::<usize>()).max(1));
        let most = room.min(channels);
        Ok(layout(self.conv)?.packed_filters().div_ceil(room / most) * channels.div_ceil(most))
    }

    /// What conv2d.cu calls Filters, word by word.
    fn words(&self, first_block: usize) -> Result<[Argument; WORDS]> {
        let mut sizes = vec![first_block as i32];
        sizes.extend(layout(self.conv)?.filter_sizes(self.conv.shape()));
        sizes.push(self.same);
        let mut words = [self.plain, self.packed, self.bias].map(Argument::from).into_iter();
        let mut sizes = sizes.chunks_exact(2).map(|pair| Argument::pair(pair[0], pair[1]));
        Ok(std::array::from_fn(|_| words.next().or_else(|| sizes.next()).expect("three addresses and six pairs")))
    }
}

/// Runs a kernel on filters, as many at a time as a launch takes.
///
/// # Safety
/// As for [`crate::cuda::device::Device::launch`].
unsafe fn launch(cuda: &Cuda, kernel: &str, every: &[Filters]) -> Result<()> {
    for every in every.chunks(MOST) {
        let mut blocks = 0;
        let mut arguments = vec![Argument::from(every.len() as i32)];
        for filters in every {
            arguments.extend(filters.words(blocks)?);
            blocks += filters.blocks()?;
        }
        // A launch reads as many as the kernel has room for.
        arguments.resize_with(1 + MOST * WORDS, || Argument(0));
        if blocks > i32::MAX as usize {
            bail!("{kernel}: {blocks} blocks are too many");
        }
        // SAFETY: passed on to the caller.
        unsafe { cuda.launch_blocks(kernel, blocks, THREADS, &mut arguments)? };
    }
    Ok(())
}

pub(in crate::conv2d) fn pack(cuda: &Cuda, conv: &Conv2d, params: View, packed: &mut Buffer) -> Result<()> {
    pack_together(cuda, &mut [Packing { conv, params, packed }])
}

pub(in crate::conv2d) fn pack_together(cuda: &Cuda, every: &mut [Packing]) -> Result<()> {
    let filters = every.iter().map(|Packing { conv, params, packed }| {
        let (shape, layout) = (conv.shape(), layout(conv)?);
        let plain = params.device_address(shape.params_len())?;
        let packed = cuda.real(packed, layout.packed_len(shape))?;
        let bias = if shape.bias { layout.bias(shape, packed) } else { Address::NULL };
        Ok(Filters { conv, plain, packed, bias, same: 0 })
    });
    let filters = filters.collect::<Result<Vec<_>>>()?;
    // SAFETY: there are as many weights and biases as each shape says, and room for all packed ones.
    unsafe { launch(cuda, "conv_pack", &filters) }
}

pub(in crate::conv2d) fn unpack_together(cuda: &Cuda, every: &[Unpacking], all: &Buffer) -> Result<()> {
    let filters = every.iter().map(|Unpacking { conv, packed, params, skip_bias, bias_from }| {
        let (shape, layout) = (conv.shape(), layout(conv)?);
        let gradients = all.view(params.clone()).device_address(shape.params_len())?;
        let packed = cuda.real(packed, layout.weights_len(shape))?;
        let same = bias_from.map_or(Ok(0), |from| offset(conv, params.start, from, all.len()))?;
        Ok(Filters { same, ..unpacked(conv, packed, gradients, *skip_bias) })
    });
    let filters = filters.collect::<Result<Vec<_>>>()?;
    // SAFETY: there are as many gradients as each shape says, and all packed ones.
    unsafe { launch(cuda, "conv_unpack", &filters) }
}

/// How far behind a convolution's filters the gradient is that is its bias's, too, in storage of so many elements.
fn offset(conv: &Conv2d, filters: usize, bias_from: usize, len: usize) -> Result<i32> {
    match i32::try_from(bias_from as i64 - filters as i64) {
        Ok(offset) if offset != 0 && bias_from + conv.shape().out_channels <= len => Ok(offset),
        _ => bail!("a bias's gradient at {bias_from} of {len}, that of its filters at {filters}"),
    }
}

/// Brings the gradients of one convolution's filters back.
///
/// # Safety
/// The addresses must lead to the packed weights and the parameters that the shape says.
pub(super) unsafe fn unpack(
    cuda: &Cuda,
    conv: &Conv2d,
    packed: Address,
    gradients: Address,
    skip_bias: bool,
) -> Result<()> {
    // SAFETY: passed on to the caller.
    unsafe { launch(cuda, "conv_unpack", &[unpacked(conv, packed, gradients, skip_bias)]) }
}

fn unpacked(conv: &Conv2d, packed: Address, gradients: Address, skip_bias: bool) -> Filters<'_> {
    let shape = conv.shape();
    let bias = if shape.bias && skip_bias { gradients.plus_f32(shape.weight_len()) } else { Address::NULL };
    Filters { conv, plain: gradients, packed, bias, same: 0 }
}
