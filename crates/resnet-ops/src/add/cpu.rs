//! Residual addition, 16,384 elements at a time.

use crate::simd::kernel;
use crate::{Buffer, Cpu, GradientTarget, Result};

/// Elements that one task works on.
const CHUNK: usize = 16 * 1024;

pub(super) fn forward(cpu: &Cpu, len: usize, a: &Buffer, b: &Buffer, y: &mut Buffer, relu: bool) -> Result<()> {
    let (a, b) = (&a.slice::<f32>()?[..len], &b.slice::<f32>()?[..len]);
    let y = &mut y.slice_mut::<f32>()?[..len];
    cpu.pool.chunks_mut(y, CHUNK, |chunk, y| sum(cpu.isa, &a[chunk * CHUNK..], &b[chunk * CHUNK..], y, relu));
    Ok(())
}

pub(super) fn add_gradient(cpu: &Cpu, len: usize, source: &Buffer, target: GradientTarget) -> Result<()> {
    let (source, accumulate) = (&source.slice::<f32>()?[..len], target.accumulate);
    let target = &mut target.buffer.slice_mut::<f32>()?[..len];
    cpu.pool.chunks_mut(target, CHUNK, |chunk, target| {
        let source = &source[chunk * CHUNK..][..target.len()];
        match accumulate {
            true => add_to(cpu.isa, source, target),
            false => target.copy_from_slice(source),
        }
    });
    Ok(())
}

kernel! {
    fn sum<S>(a: &[f32], b: &[f32], y: &mut [f32], relu: bool) {
        for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
            let sum = a + b;
            // Written so that a NaN passes.
            *y = if relu && sum <= 0.0 { 0.0 } else { sum };
        }
    }
}

kernel! {
    /// target += source.
    pub(crate) fn add_to<S>(source: &[f32], target: &mut [f32]) {
        for (target, &source) in target.iter_mut().zip(source) {
            *target += source;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{add, Buffer, Executor, GradientTarget, Isa};

    #[test]
    fn adds_rectifies_and_accumulates() {
        let len = 33_000;
        let values = |scale: f32| -> Vec<f32> { (0..len).map(|i| scale * (i as f32 % 11.0 - 5.0)).collect() };
        let (mut first, second) = (values(1.0), values(-0.25));
        first[17] = f32::NAN;
        for isa in Isa::available() {
            let cpu = Executor::cpu_with(2, isa).unwrap();
            let (a, b) = (Buffer::from_slice(&first).unwrap(), Buffer::from_slice(&second).unwrap());
            let mut y = Buffer::from_slice(&vec![9f32; len]).unwrap();
            add::forward(&cpu, len, &a, &b, &mut y, true).unwrap();
            let mut plain = Buffer::from_slice(&vec![9f32; len]).unwrap();
            add::forward(&cpu, len, &a, &b, &mut plain, false).unwrap();
            let mut sum = Buffer::from_slice(&vec![9f32; len]).unwrap();
            for accumulate in [false, true] {
                add::add_gradient(&cpu, len, &b, GradientTarget { buffer: &mut sum, accumulate }).unwrap();
            }
            let [y, plain, sum] = [&y, &plain, &sum].map(|buffer| buffer.slice::<f32>().unwrap());
            assert!(y[17].is_nan() && plain[17].is_nan());
            for i in (0..len).filter(|&i| i != 17) {
                assert_eq!((y[i], plain[i]), ((first[i] + second[i]).max(0.0), first[i] + second[i]));
                assert_eq!(sum[i], 2.0 * second[i]);
            }
        }
    }
}
