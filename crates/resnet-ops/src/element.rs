//! The types of a buffer's elements.

use candle_core::{CpuStorage, DType};

/// A type that a [`crate::Buffer`] can hold in host memory.
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
element!(u32, U32);
element!(u8, U8);

/// f32 or f64: the types in which the plain definitions are written, and as which buffers are read.
pub trait Real: Element + num_traits::Float + Into<f64> + std::iter::Sum + std::ops::AddAssign {
    /// The value, rounded to this type.
    fn of(value: f64) -> Self;
}
impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
}
impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
}

/// Compiles a function for AVX2 too, and calls that where the processor has it: more elements at once and the same bits, as nothing is fused.
macro_rules! wide {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident<T: Real>($($arg:ident: $type:ty),*) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        $visibility fn $name<T: Real>($($arg: $type),*) $(-> $ret)? {
            #[inline(always)]
            fn plain<T: Real>($($arg: $type),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2<T: Real>($($arg: $type),*) $(-> $ret)? {
                    plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has it.
                    return unsafe { avx2($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}

pub(crate) use wide;

wide! {
    /// Σ a·b, in eight sums that a processor adds to at once.
    pub(crate) fn dot<T: Real>(a: &[T], b: &[T]) -> T {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
        let mut sums = [T::zero(); 8];
        for (a, b) in a.iter().zip(b) {
            for i in 0..8 {
                sums[i] += a[i] * b[i];
            }
        }
        let rest: T = a_rest.iter().zip(b_rest).map(|(&a, &b)| a * b).sum();
        sums.into_iter().sum::<T>() + rest
    }
}

wide! {
    /// sums += factor · x, place by place.
    pub(crate) fn add_scaled<T: Real>(sums: &mut [T], factor: T, x: &[T]) {
        sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum += factor * x);
    }
}
