//! Storage that a plan owns and kernels borrow: candle storage whose first element sits on a cache line.

use candle_core::{bail, CpuStorage, DType, Error, Result, Storage};
use std::ops::Range;

/// Elements in a 64-byte cache line of the smallest type, u8.
const CACHE_LINE: usize = 64;

/// A flat run of elements in candle storage.
///
/// The storage is a little longer than asked for, so that the first element can be 64-byte aligned: an unaligned
/// 512-bit load would touch two cache lines each time.
pub struct Buffer {
    storage: Storage,
    start: usize,
    len: usize,
}

/// A type that a [`Buffer`] can hold.
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// The candle data type.
    const DTYPE: DType;
    #[doc(hidden)]
    fn storage(data: Vec<Self>) -> CpuStorage;
    #[doc(hidden)]
    fn all(storage: &CpuStorage) -> Option<&[Self]>;
    #[doc(hidden)]
    fn all_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            const DTYPE: DType = DType::$variant;
            fn storage(data: Vec<Self>) -> CpuStorage {
                CpuStorage::$variant(data)
            }
            fn all(storage: &CpuStorage) -> Option<&[Self]> {
                match storage {
                    CpuStorage::$variant(data) => Some(data),
                    _ => None,
                }
            }
            fn all_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
                match storage {
                    CpuStorage::$variant(data) => Some(data),
                    _ => None,
                }
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);
element!(u8, U8);

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
        let mut data: Vec<T> = Vec::new();
        data.try_reserve_exact(total)
            .map_err(|_| Error::Msg(format!("out of memory: {} bytes asked for", total * size)))?;
        advise_huge_pages(&data);
        data.resize(total, T::default());
        let start = data.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE / size);
        Ok(Self { storage: Storage::Cpu(T::storage(data)), start, len })
    }

    /// A copy of `values`.
    pub fn from_slice<T: Element>(values: &[T]) -> Result<Self> {
        let mut buffer = Self::allocate::<T>(values.len())?;
        buffer.slice_mut::<T>()?.copy_from_slice(values);
        Ok(buffer)
    }

    /// A buffer of no elements, to stand in while the real one is borrowed.
    pub fn empty() -> Self {
        Self { storage: Storage::Cpu(CpuStorage::F32(Vec::new())), start: 0, len: 0 }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The data type of the elements.
    pub fn dtype(&self) -> DType {
        self.storage.dtype()
    }

    /// The elements, if they are of type `T` and in host memory.
    pub fn slice<T: Element>(&self) -> Result<&[T]> {
        let dtype = self.dtype();
        match &self.storage {
            Storage::Cpu(storage) => match T::all(storage) {
                Some(all) => Ok(&all[self.start..self.start + self.len]),
                None => bail!("expected a buffer of {:?}, got {dtype:?}", T::DTYPE),
            },
            _ => bail!("expected a buffer in host memory"),
        }
    }

    /// The elements, mutable, if they are of type `T` and in host memory.
    pub fn slice_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let dtype = self.dtype();
        match &mut self.storage {
            Storage::Cpu(storage) => match T::all_mut(storage) {
                Some(all) => Ok(&mut all[self.start..self.start + self.len]),
                None => bail!("expected a buffer of {:?}, got {dtype:?}", T::DTYPE),
            },
            _ => bail!("expected a buffer in host memory"),
        }
    }

    /// A borrowed part.
    pub fn view(&self, range: Range<usize>) -> View<'_> {
        View { buffer: self, range }
    }

    /// A borrowed part, mutable.
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
    /// The elements, if they are of type `T` and in host memory.
    pub fn slice<T: Element>(&self) -> Result<&'a [T]> {
        part(self.buffer.slice::<T>()?.get(self.range.clone()), &self.range, self.buffer.len)
    }
}

/// Part of a [`Buffer`], mutable.
pub struct ViewMut<'a> {
    buffer: &'a mut Buffer,
    range: Range<usize>,
}

impl ViewMut<'_> {
    /// The elements, mutable, if they are of type `T` and in host memory.
    pub fn slice_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let len = self.buffer.len;
        part(self.buffer.slice_mut::<T>()?.get_mut(self.range.clone()), &self.range, len)
    }
}

fn part<S>(found: Option<S>, range: &Range<usize>, len: usize) -> Result<S> {
    found.ok_or_else(|| Error::Msg(format!("elements {range:?} of a buffer of {len}")))
}
