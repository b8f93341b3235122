//! Batches of images that a GPU holds.

use super::ResidentImages;
use crate::buffer::bytes_of;
use crate::cuda::{arguments, Address, Cuda};
use crate::{Buffer, DType, Result};

pub(super) fn gather(cuda: &Cuda, from: &ResidentImages, indices: &[u32], images: &mut Buffer) -> Result<()> {
    let (n, [channels, height, width]) = (indices.len(), from.image);
    // The size after each pass.
    let sizes = from.passes.iter().scan([height, width], |size, pass| {
        size[usize::from(!pass.is_down)] = pass.outputs;
        Some(*size)
    });
    let sizes: Vec<[usize; 2]> = [[height, width]].into_iter().chain(sizes).collect();
    let values = |size: [usize; 2]| n * channels * size[0] * size[1];
    let (before_last, last) = (sizes[sizes.len() - 2], sizes[sizes.len() - 1]);
    // The indices, and what is between the passes.
    let indices_len = size_of_val(indices).next_multiple_of(size_of::<f64>());
    let memory = cuda.scratch(indices_len + values(before_last) * from.between.size_in_bytes())?;
    memory.write(0, bytes_of(indices))?;
    let images = cuda.address(images, DType::F32, values(last))?;
    let pixels = cuda.address(&from.pixels, from.pixels.dtype(), from.pixels.len())?;
    let between = memory.address().plus(indices_len, DType::U8);
    for (index, (pass, size)) in from.passes.iter().zip(sizes.windows(2)).enumerate() {
        let ([height, width], after) = (size[0], size[1]);
        // Lines of pixels that are weighed together, how many there are in an image, and their length.
        let (lines, per_image, line) =
            if pass.is_down { (height, channels, width) } else { (width, channels * height, 1) };
        let (source, chosen) = if index == 0 { (pixels, memory.address()) } else { (between, Address::NULL) };
        let target = if index + 1 == from.passes.len() { images } else { between };
        let windows = cuda.address(&pass.windows, DType::U32, pass.windows.len())?;
        let weights = cuda.address(&pass.weights, pass.weights.dtype(), pass.weights.len())?;
        let sizes = [per_image, lines, pass.outputs, line].map(|size| size as i32);
        let [per_image, lines, outputs, line] = sizes;
        let total = values(after);
        let arguments =
            arguments![total as i64, per_image, lines, outputs, line, windows, weights, chosen, source, target];
        // SAFETY: the indices are those of images; windows lie within the lines; the target has `total` values.
        unsafe { cuda.launch(pass.kernel, total, arguments)? };
    }
    Ok(())
}
