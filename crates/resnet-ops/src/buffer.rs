//! Storage that a plan owns and kernels borrow: candle storage whose first element sits on a cache line, or memory of a GPU.

#![allow(clippy::wildcard_enum_match_arm, reason = "of candle's element types a buffer holds a few")]

use crate::allocate;
#[cfg(feature = "cuda-kernels")]
use crate::cuda::{device::Address, memory::Memory};
use crate::element::{Element, Real};
use candle_core::backend::BackendStorage;
use candle_core::{bail, CpuStorage, DType, Error, Result};
use std::borrow::Cow;
use std::ops::Range;

/// Elements in a 64-byte cache line of the smallest type, u8.
const CACHE_LINE: usize = 64;

/// A flat run of elements.
pub struct Buffer {
    home: Home,
    len: usize,
}

/// Where the elements are.
enum Home {
    /// In candle storage, a little longer than asked for, so that the first element can be 64-byte aligned: an unaligned
    /// 512-bit load would touch two cache lines each time.
    Host { storage: CpuStorage, start: usize },
    /// On a GPU.
    #[cfg(feature = "cuda-kernels")]
    Device { memory: std::sync::Arc<Memory>, dtype: DType },
}

/// Asks for huge pages for a large allocation that nobody has touched yet: fewer faults, and fewer misses of the TLB.
#[cfg(target_os = "linux")]
fn advise_huge_pages<T>(data: &Vec<T>) {
    const HUGE_PAGE: usize = 2 << 20;
    let start = data.as_ptr() as usize;
    let (first, end) = (start.next_multiple_of(HUGE_PAGE), start + data.capacity() * std::mem::size_of::<T>());
    if let Some(len) = (end - end % HUGE_PAGE).checked_sub(first).filter(|&len| len > 0) {
        // SAFETY: the range lies within the allocation, and the advice changes no contents. Refused, it changes nothing.
        unsafe { libc::madvise(first as *mut libc::c_void, len, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages<T>(_: &Vec<T>) {}

impl Buffer {
    /// `len` zeros of `dtype` (F32, F64 or U8) in host memory.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`](crate::DeviceError) if there is not so much memory; if the type is another.
    pub fn zeros(dtype: DType, len: usize) -> Result<Self> {
        match dtype {
            DType::F32 => Self::allocate::<f32>(len),
            DType::F64 => Self::allocate::<f64>(len),
            DType::U8 => Self::allocate::<u8>(len),
            other => bail!("a buffer holds f32, f64 or u8, not {other:?}"),
        }
    }

    fn allocate<T: Element>(len: usize) -> Result<Self> {
        let size = std::mem::size_of::<T>();
        let total = len.checked_add(CACHE_LINE / size).ok_or_else(|| Error::Msg(format!("{len} elements")))?;
        let data = allocate::zeros::<T>(total)?;
        advise_huge_pages(&data);
        let start = data.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE / size);
        Ok(Self { home: Home::Host { storage: T::storage(data), start }, len })
    }

    /// Has the system bring the pages of a part of new zeros now. It does so when a page is first written, and a gigabyte takes up to a
    /// second: whoever may have to stop in between asks for part after part. On a GPU there is nothing to do.
    ///
    /// # Errors
    /// If there are fewer elements.
    pub fn touch(&mut self, part: Range<usize>) -> Result<()> {
        self.check(&part)?;
        #[cfg(feature = "cuda-kernels")]
        if matches!(self.home, Home::Device { .. }) {
            return Ok(());
        }
        match self.dtype() {
            DType::F64 => touch(&mut self.slice_mut::<f64>()?[part]),
            DType::F32 => touch(&mut self.slice_mut::<f32>()?[part]),
            _ => touch(&mut self.slice_mut::<u8>()?[part]),
        }
        Ok(())
    }

    /// A copy of `values` in host memory.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`](crate::DeviceError) if there is not so much memory.
    pub fn from_slice<T: Element>(values: &[T]) -> Result<Self> {
        let mut buffer = Self::allocate::<T>(values.len())?;
        buffer.slice_mut::<T>()?.copy_from_slice(values);
        Ok(buffer)
    }

    /// A buffer of no elements, to stand in while the real one is borrowed.
    pub fn empty() -> Self {
        Self { home: Home::Host { storage: CpuStorage::F32(Vec::new()), start: 0 }, len: 0 }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype().size_in_bytes()
    }

    /// The data type of the elements.
    pub fn dtype(&self) -> DType {
        match &self.home {
            Home::Host { storage, .. } => storage.dtype(),
            #[cfg(feature = "cuda-kernels")]
            Home::Device { dtype, .. } => *dtype,
        }
    }

    /// The elements, if they are of type `T` and in host memory.
    ///
    /// # Errors
    /// If they are not.
    pub fn slice<T: Element>(&self) -> Result<&[T]> {
        let dtype = self.dtype();
        match &self.home {
            Home::Host { storage, start } => match T::all(storage) {
                Some(all) => Ok(&all[*start..start + self.len]),
                None => bail!("expected a buffer of {:?}, got {dtype:?}", T::DTYPE),
            },
            #[cfg(feature = "cuda-kernels")]
            Home::Device { .. } => bail!("expected a buffer in host memory"),
        }
    }

    /// The elements, mutable, if they are of type `T` and in host memory.
    ///
    /// # Errors
    /// If they are not.
    pub fn slice_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let dtype = self.dtype();
        match &mut self.home {
            Home::Host { storage, start } => match T::all_mut(storage) {
                Some(all) => Ok(&mut all[*start..*start + self.len]),
                None => bail!("expected a buffer of {:?}, got {dtype:?}", T::DTYPE),
            },
            #[cfg(feature = "cuda-kernels")]
            Home::Device { .. } => bail!("expected a buffer in host memory"),
        }
    }

    /// A copy of a part of the elements, wherever they are, rounded to f32 or f64 if they are of another type.
    ///
    /// # Errors
    /// If there are fewer elements; [`DeviceError::OutOfMemory`](crate::DeviceError) if there is no memory for the copy; if the device fails.
    pub fn read<V: Real>(&self, range: Range<usize>) -> Result<Vec<V>> {
        self.check(&range)?;
        let mut values = allocate::zeros(range.len())?;
        self.read_to(range, &mut values)?;
        Ok(values)
    }

    /// The same into a slice that is as long as the range.
    ///
    /// # Errors
    /// If there are fewer elements; if the slice is of another length; if the device fails.
    pub fn read_to<V: Real>(&self, range: Range<usize>, target: &mut [V]) -> Result<()> {
        self.check(&range)?;
        if target.len() != range.len() {
            bail!("elements {range:?} of a buffer for a slice of {}", target.len());
        }
        #[cfg(feature = "cuda-kernels")]
        if let Home::Device { memory, dtype } = &self.home {
            let size = dtype.size_in_bytes();
            if *dtype == V::DTYPE {
                return memory.read(range.start * size, bytes_of_mut(target));
            }
            let mut bytes = allocate::zeros(range.len() * size)?;
            memory.read(range.start * size, &mut bytes)?;
            return from_bytes(*dtype, &bytes, target);
        }
        if self.dtype() == V::DTYPE {
            target.copy_from_slice(&self.slice::<V>()?[range]);
            return Ok(());
        }
        match self.dtype() {
            DType::F64 => convert(&self.slice::<f64>()?[range], target),
            DType::F32 => convert(&self.slice::<f32>()?[range], target),
            _ => convert(&self.slice::<u8>()?[range], target),
        }
        Ok(())
    }

    fn check(&self, range: &Range<usize>) -> Result<()> {
        part((range.start <= range.end && range.end <= self.len).then_some(()), range, self.len)
    }

    /// Writes the first elements, wherever they are, rounding the values to the buffer's type.
    ///
    /// # Errors
    /// If there are fewer elements; if the device fails.
    pub fn write<V: Element + Into<f64>>(&mut self, values: &[V]) -> Result<()> {
        if values.len() > self.len {
            bail!("{} values for a buffer of {}", values.len(), self.len);
        }
        let (dtype, same) = (self.dtype(), V::DTYPE == self.dtype());
        #[cfg(feature = "cuda-kernels")]
        if let Home::Device { memory, .. } = &self.home {
            return match same {
                true => memory.write(0, bytes_of(values)),
                false => memory.write(0, &to_bytes(dtype, values)?),
            };
        }
        if same {
            self.slice_mut::<V>()?[..values.len()].copy_from_slice(values);
            return Ok(());
        }
        match dtype {
            DType::F64 => self.slice_mut::<f64>()?.iter_mut().zip(values).for_each(|(to, &from)| *to = from.into()),
            DType::F32 => {
                self.slice_mut::<f32>()?.iter_mut().zip(values).for_each(|(to, &from)| *to = from.into() as f32)
            }
            _ => self.slice_mut::<u8>()?.iter_mut().zip(values).for_each(|(to, &from)| *to = from.into() as u8),
        }
        Ok(())
    }

    /// Takes the elements of a buffer of the same length and type on the same device. On a GPU it waits.
    ///
    /// # Errors
    /// If length or type differ; [`DeviceError::OutOfMemory`](crate::DeviceError) for a GPU's if there is no memory on the host; if the
    /// device fails.
    pub fn copy_from(&mut self, other: &Self) -> Result<()> {
        self.check_alike(other)?;
        match self.dtype() {
            DType::F64 => self.write(&other.elements::<f64>()?),
            _ => self.write(&other.elements::<f32>()?),
        }
    }

    /// Exchanges the elements with those of a buffer of the same length and type on the same device, each staying where it is: what has been
    /// captured for a GPU finds the others there. On a GPU it waits.
    ///
    /// # Errors
    /// As for [`Buffer::copy_from`].
    pub fn swap(&mut self, other: &mut Self) -> Result<()> {
        self.check_alike(other)?;
        match (self.dtype(), &self.home) {
            (DType::F64, Home::Host { .. }) => self.slice_mut::<f64>()?.swap_with_slice(other.slice_mut()?),
            (_, Home::Host { .. }) => self.slice_mut::<f32>()?.swap_with_slice(other.slice_mut()?),
            #[cfg(feature = "cuda-kernels")]
            (_, Home::Device { .. }) => {
                let (own, others) = (self.read::<f32>(0..self.len)?, other.read::<f32>(0..other.len)?);
                self.write(&others)?;
                other.write(&own)?;
            }
        }
        Ok(())
    }

    fn check_alike(&self, other: &Self) -> Result<()> {
        if (self.len, self.dtype()) != (other.len, other.dtype()) {
            bail!("{} elements of {:?} for {} of {:?}", other.len, other.dtype(), self.len, self.dtype());
        }
        Ok(())
    }

    /// All elements, without a copy where they are on the host.
    fn elements<V: Real>(&self) -> Result<Cow<'_, [V]>> {
        match self.home {
            Home::Host { .. } => Ok(self.slice::<V>()?.into()),
            #[cfg(feature = "cuda-kernels")]
            Home::Device { .. } => Ok(self.read(0..self.len)?.into()),
        }
    }

    /// Memory of a GPU as `len` elements of `dtype`, which it has room for.
    #[cfg(feature = "cuda-kernels")]
    pub(crate) fn on_device(memory: std::sync::Arc<Memory>, dtype: DType, len: usize) -> Self {
        Self { home: Home::Device { memory, dtype }, len }
    }

    /// The first elements of a GPU's, in the same memory.
    #[cfg(all(feature = "cuda-kernels", target_os = "linux"))]
    pub(crate) fn prefix(&self, len: usize) -> Result<Self> {
        match &self.home {
            Home::Device { memory, dtype } if len <= self.len => {
                Ok(Self { home: Home::Device { memory: memory.clone(), dtype: *dtype }, len })
            }
            Home::Device { .. } | Home::Host { .. } => bail!("expected {len} elements or more on the device"),
        }
    }

    /// Where a part of the elements begins, if they are of that type and on a GPU.
    #[cfg(feature = "cuda-kernels")]
    pub(crate) fn device_address(&self, wanted: DType, range: Range<usize>) -> Result<Address> {
        match &self.home {
            Home::Device { memory, dtype } if *dtype == wanted && range.end <= self.len => {
                Ok(Address(memory.address().0 + (range.start * dtype.size_in_bytes()) as u64))
            }
            Home::Device { dtype, .. } => {
                bail!("expected elements {range:?} of {wanted:?} in a buffer of {} of {dtype:?}", self.len)
            }
            Home::Host { .. } => bail!("expected a buffer on the device"),
        }
    }

    /// A borrowed part. Whoever asks for its elements learns whether the buffer has so many.
    pub fn view(&self, range: Range<usize>) -> View<'_> {
        View { buffer: self, range }
    }

    /// The same, mutable.
    pub fn view_mut(&mut self, range: Range<usize>) -> ViewMut<'_> {
        ViewMut { buffer: self, range }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::empty()
    }
}

/// Part of a [`Buffer`]: one layer's parameters in the flat storage of all.
#[derive(Clone)]
pub struct View<'a> {
    buffer: &'a Buffer,
    range: Range<usize>,
}

impl<'a> View<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The elements, if they are of type `T` and in host memory.
    ///
    /// # Errors
    /// If they are not; if the buffer has fewer elements.
    pub fn slice<T: Element>(&self) -> Result<&'a [T]> {
        part(self.buffer.slice::<T>()?.get(self.range.clone()), &self.range, self.buffer.len)
    }

    /// A copy of the elements, wherever they are; see [`Buffer::read`].
    ///
    /// # Errors
    /// As for [`Buffer::read`].
    pub fn read<V: Real>(&self) -> Result<Vec<V>> {
        self.buffer.read(self.range.clone())
    }

    /// Where it begins, if it is f32 and on a GPU, and has at least `len` elements.
    #[cfg(feature = "cuda-kernels")]
    pub(crate) fn device_address(&self, len: usize) -> Result<Address> {
        part((len <= self.range.len()).then_some(()), &self.range, self.buffer.len)?;
        self.buffer.device_address(DType::F32, self.range.clone())
    }
}

/// Part of a [`Buffer`], mutable.
pub struct ViewMut<'a> {
    buffer: &'a mut Buffer,
    range: Range<usize>,
}

impl<'a> ViewMut<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The same part, to be read.
    pub fn view(&self) -> View<'_> {
        self.buffer.view(self.range.clone())
    }

    /// The same part, borrowed for a while.
    #[cfg(feature = "cuda-kernels")]
    pub(crate) fn reborrow(&mut self) -> ViewMut<'_> {
        self.buffer.view_mut(self.range.clone())
    }

    /// The elements, mutable, if they are of type `T` and in host memory.
    ///
    /// # Errors
    /// If they are not; if the buffer has fewer elements.
    pub fn into_slice<T: Element>(self) -> Result<&'a mut [T]> {
        let len = self.buffer.len;
        part(self.buffer.slice_mut::<T>()?.get_mut(self.range.clone()), &self.range, len)
    }

    /// Where it begins, if it is f32 and on a GPU, and has at least `len` elements.
    #[cfg(feature = "cuda-kernels")]
    pub(crate) fn device_address(&self, len: usize) -> Result<Address> {
        self.buffer.view(self.range.clone()).device_address(len)
    }
}

/// Numbers of the type that a device's memory holds.
#[cfg(feature = "cuda-kernels")]
pub(crate) fn bytes_of<V: Element>(values: &[V]) -> &[u8] {
    // SAFETY: the types with `Element` are plain numbers, and every byte of them is there.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The same, to be written over.
#[cfg(feature = "cuda-kernels")]
fn bytes_of_mut<V: Element>(values: &mut [V]) -> &mut [u8] {
    // SAFETY: as above; any bytes make such a number.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// Numbers as they lie on a device.
#[cfg(feature = "cuda-kernels")]
fn to_bytes<V: Copy + Into<f64>>(dtype: DType, values: &[V]) -> Result<Vec<u8>> {
    let mut bytes = allocate::with_room(values.len().saturating_mul(dtype.size_in_bytes()))?;
    let values = values.iter().map(|&value| -> f64 { value.into() });
    match dtype {
        DType::F64 => bytes.extend(values.flat_map(f64::to_le_bytes)),
        DType::F32 => bytes.extend(values.flat_map(|value| (value as f32).to_le_bytes())),
        DType::BF16 => bytes.extend(values.flat_map(|value| half::bf16::from_f64(value).to_le_bytes())),
        DType::U32 => bytes.extend(values.flat_map(|value| (value as u32).to_le_bytes())),
        DType::U8 => bytes.extend(values.map(|value| value as u8)),
        other => bail!("a buffer on a device does not hold {other:?}"),
    }
    Ok(bytes)
}

/// The same numbers as f32 or f64.
#[cfg(feature = "cuda-kernels")]
fn from_bytes<V: Real>(dtype: DType, bytes: &[u8], target: &mut [V]) -> Result<()> {
    match dtype {
        DType::F64 => each(bytes, target, f64::from_le_bytes),
        DType::F32 => each(bytes, target, |bytes| f32::from_le_bytes(bytes).into()),
        DType::BF16 => each(bytes, target, |bytes| half::bf16::from_le_bytes(bytes).to_f64()),
        DType::U32 => each(bytes, target, |bytes| u32::from_le_bytes(bytes).into()),
        DType::U8 => convert(bytes, target),
        other => bail!("a buffer on a device does not hold {other:?}"),
    }
    Ok(())
}

#[cfg(feature = "cuda-kernels")]
fn each<V: Real, const SIZE: usize>(bytes: &[u8], target: &mut [V], value: impl Fn([u8; SIZE]) -> f64) {
    bytes.as_chunks().0.iter().zip(target).for_each(|(&bytes, target)| *target = V::of(value(bytes)));
}

fn convert<S: Copy + Into<f64>, V: Real>(source: &[S], target: &mut [V]) {
    source.iter().zip(target).for_each(|(&from, to)| *to = V::of(from.into()));
}

/// Writes a zero to every page.
fn touch<T: Element>(zeros: &mut [T]) {
    const PAGE: usize = 4096;
    // Otherwise the compiler may leave out what changes nothing.
    zeros.iter_mut().step_by(PAGE / size_of::<T>()).for_each(|zero| *zero = std::hint::black_box(T::default()));
}

fn part<S>(found: Option<S>, range: &Range<usize>, len: usize) -> Result<S> {
    found.ok_or_else(|| Error::Msg(format!("elements {range:?} of a buffer of {len}")))
}
