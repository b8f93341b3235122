//! What the ops that update parameters share: their operands, and one pass over flat storage.

use crate::element::Real;
use crate::{finite, Buffer, Cpu, Result, View, ViewMut};
use candle_core::bail;
use std::sync::atomic::{AtomicI32, Ordering};

/// Elements that one task works on.
const CHUNK: usize = 16 * 1024;

/// What a gradient becomes before an update uses it: scale·gradient, then the nearest number from −limit to limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// What it is multiplied by.
    pub scale: f64,
    /// How far from 0 it may then be.
    pub limit: f64,
}

impl Default for Clip {
    fn default() -> Self {
        Self { scale: 1.0, limit: f64::INFINITY }
    }
}

/// What an update works on: parts of flat storage, of one length, in the executor's parameter type. Parts may begin anywhere.
pub struct Update<'a> {
    /// Parameters.
    pub params: ViewMut<'a>,
    /// Their gradients.
    pub grads: View<'a>,
    /// What is kept between updates, in the order that the op names; zeros at first.
    pub kept: Vec<ViewMut<'a>>,
    /// How gradients are clipped.
    pub clip: Clip,
    /// Counts the updates that these parameters have had, from 1 at the first.
    pub step: u64,
    /// Becomes 1 if a parameter becomes NaN or infinite, which it does where its gradient or what is kept of it is; see
    /// [`crate::finite`].
    pub non_finite: &'a mut Buffer,
}

impl Update<'_> {
    /// # Errors
    /// If the parts differ in length; if there are not `kept` buffers.
    pub(crate) fn check(&self, kept: usize) -> Result<()> {
        let len = self.params.len();
        if self.kept.len() != kept || self.kept.iter().any(|part| part.len() != len) || self.grads.len() != len {
            bail!("an update of {len} parameters takes as many gradients, and {kept} buffers of that length");
        }
        Ok(())
    }
}

/// [`Clip`] in the type of gradients.
#[derive(Clone, Copy)]
pub(crate) struct Clipping<T> {
    scale: T,
    limit: T,
}

impl<T: Real> Clipping<T> {
    pub(crate) fn new(clip: Clip) -> Self {
        Self { scale: T::of(clip.scale), limit: T::of(clip.limit) }
    }

    /// NaN stays NaN.
    #[inline(always)]
    pub(crate) fn of(self, gradient: T) -> T {
        let scaled = self.scale * gradient;
        let below = if scaled > self.limit { self.limit } else { scaled };
        if below < -self.limit {
            -self.limit
        } else {
            below
        }
    }
}

/// Calls `rule` with each parameter, its gradient and what is kept of it.
pub(crate) fn by_definition<T: Real, const N: usize>(
    call: Update,
    mut rule: impl FnMut(&mut T, T, [&mut T; N]),
) -> Result<()> {
    let (clip, grads) = (Clipping::<T>::new(call.clip), call.grads.slice::<T>()?);
    let mut kept = slices::<T, N>(call.kept)?;
    let mut is_finite = true;
    for (i, (p, &gradient)) in call.params.into_slice::<T>()?.iter_mut().zip(grads).enumerate() {
        rule(p, clip.of(gradient), kept.each_mut().map(|kept| &mut kept[i]));
        is_finite &= p.is_finite();
    }
    finite::note::<T>(call.non_finite, is_finite)
}

/// Calls `kernel` with chunks of parameters, their gradients and what is kept of them; it returns the largest [`finite::magnitude`] of
/// the parameters that it wrote.
pub(crate) fn pass<const N: usize>(
    cpu: &Cpu,
    call: Update,
    kernel: impl Fn(Clipping<f32>, &mut [f32], &[f32], [&mut [f32]; N]) -> i32 + Sync,
) -> Result<()> {
    let (clip, grads) = (Clipping::new(call.clip), call.grads.slice::<f32>()?);
    let (params, kept) = (call.params.into_slice::<f32>()?, slices::<f32, N>(call.kept)?);
    let largest = AtomicI32::new(0);
    cpu.pool.chunks_of_all_mut(params, kept, CHUNK, |chunk, params, kept| {
        let grads = &grads[chunk * CHUNK..][..params.len()];
        largest.fetch_max(kernel(clip, params, grads, kept), Ordering::Relaxed);
    });
    finite::note::<f32>(call.non_finite, largest.into_inner() < finite::magnitude(f32::INFINITY))
}

fn slices<'a, T: Real, const N: usize>(kept: Vec<ViewMut<'a>>) -> Result<[&'a mut [T]; N]> {
    let slices = kept.into_iter().map(ViewMut::into_slice).collect::<Result<Vec<_>>>()?;
    let Ok(slices) = slices.try_into() else { bail!("an update with {N} kept buffers got another number") };
    Ok(slices)
}

/// Where an update's operands are on a GPU.
#[cfg(feature = "cuda-kernels")]
pub(crate) struct Addresses {
    pub(crate) params: crate::cuda::Address,
    pub(crate) grads: crate::cuda::Address,
    pub(crate) kept: Vec<crate::cuda::Address>,
    pub(crate) non_finite: crate::cuda::Address,
    pub(crate) scale: f32,
    pub(crate) limit: f32,
}

#[cfg(feature = "cuda-kernels")]
impl Addresses {
    pub(crate) fn of(cuda: &crate::cuda::Cuda, call: &Update) -> Result<Self> {
        let len = call.params.len();
        Ok(Self {
            params: call.params.device_address(len)?,
            grads: call.grads.device_address(len)?,
            kept: call.kept.iter().map(|part| part.device_address(len)).collect::<Result<_>>()?,
            non_finite: cuda.address(call.non_finite, crate::DType::F32, 1)?,
            scale: call.clip.scale as f32,
            limit: call.clip.limit as f32,
        })
    }
}
