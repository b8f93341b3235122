use super::{Forward, MaxPool2d};
use crate::element::Real;
use crate::{Buffer, GradientTarget, Result};

pub(super) fn forward<T: Real>(op: &MaxPool2d, call: Forward) -> Result<()> {
    let Forward { n, x, y, argmax } = call;
    let [height, width] = op.output();
    let (x, y) = (x.slice::<T>()?, y.slice_mut::<T>()?);
    let mut argmax = argmax.map(Buffer::slice_mut::<u8>).transpose()?;
    for plane in 0..n * op.channels {
        for p in 0..height {
            for q in 0..width {
                let mut best = None;
                for number in 0..op.kernel[0] * op.kernel[1] {
                    let Some(pixel) = pixel(op, [p, q], number) else { continue };
                    let value = x[plane * op.input[0] * op.input[1] + pixel];
                    if best.is_none_or(|(maximum, _)| value > maximum || value.is_nan()) {
                        best = Some((value, number));
                    }
                }
                let output = (plane * height + p) * width + q;
                let (maximum, number) = best.expect("padding of at most half the kernel leaves a pixel");
                y[output] = maximum;
                if let Some(argmax) = &mut argmax {
                    argmax[output] = number as u8;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn backward<T: Real>(
    op: &MaxPool2d,
    n: usize,
    dy: &Buffer,
    argmax: &Buffer,
    dx: GradientTarget,
) -> Result<()> {
    let GradientTarget { buffer: dx, accumulate } = dx;
    let ([height, width], pixels) = (op.output(), op.input[0] * op.input[1]);
    let (dy, argmax) = (dy.slice::<T>()?, argmax.slice::<u8>()?);
    let dx = &mut dx.slice_mut::<T>()?[..n * op.channels * pixels];
    if !accumulate {
        dx.fill(T::zero());
    }
    for output in 0..n * op.channels * height * width {
        let (plane, p, q) = (output / (height * width), output / width % height, output % width);
        let pixel = pixel(op, [p, q], argmax[output].into()).expect("the maximum is no padding");
        dx[plane * pixels + pixel] += dy[output];
    }
    Ok(())
}

/// The pixel of the input which has this number in the window of output (p, q); None in the padding.
fn pixel(op: &MaxPool2d, [p, q]: [usize; 2], number: usize) -> Option<usize> {
    let row = (p * op.stride[0] + number / op.kernel[1]).checked_sub(op.padding[0])?;
    let column = (q * op.stride[1] + number % op.kernel[1]).checked_sub(op.padding[1])?;
    (row < op.input[0] && column < op.input[1]).then_some(row * op.input[1] + column)
}
