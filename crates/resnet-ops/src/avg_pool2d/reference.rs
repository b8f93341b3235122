use super::AvgPool2d;
use crate::element::Real;
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward<T: Real>(op: &AvgPool2d, n: usize, x: &Buffer, y: &mut Buffer) -> Result<()> {
    let (x, y) = (x.slice::<T>()?, y.slice_mut::<T>()?);
    for output in 0..n * op.channels * op.output()[0] * op.output()[1] {
        let (pixels, divisor) = window(op, output);
        y[output] = pixels.map(|pixel| x[pixel]).sum::<T>() / T::of(divisor as f64);
    }
    Ok(())
}

pub(super) fn backward<T: Real>(op: &AvgPool2d, n: usize, dy: &Buffer, dx: GradientTarget) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let dy = dy.slice::<T>()?;
    let dx = &mut dx.slice_mut::<T>()?[..n * op.channels * op.input[0] * op.input[1]];
    if !accumulate {
        dx.fill(T::zero());
    }
    for output in 0..n * op.channels * op.output()[0] * op.output()[1] {
        let (pixels, divisor) = window(op, output);
        pixels.for_each(|pixel| dx[pixel] += dy[output] / T::of(divisor as f64));
    }
    Ok(())
}

/// The elements of x whose mean is element number `output` of y, and the mean's divisor.
fn window(op: &AvgPool2d, output: usize) -> (impl Iterator<Item = usize>, usize) {
    let ([height, width], [input_height, input_width]) = (op.output(), op.input);
    let (plane, p, q) = (output / (height * width), output / width % height, output % width);
    let ((rows, row_count), (columns, column_count)) = (op.window(0, p), op.window(1, q));
    let line = move |row| columns.clone().map(move |column| (plane * input_height + row) * input_width + column);
    (rows.flat_map(line), row_count * column_count)
}
