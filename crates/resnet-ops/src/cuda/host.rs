//! This machine's processor in place of a GPU: the same kernels, compiled by its C++ compiler, and convolutions by the
//! definition. It is slow, and there so that all but cuDNN and the driver can be tested anywhere.

use super::device::{Argument, Captured, Device, Geometry, Graph};
use crate::algorithm::Pass;
use crate::element::{add_scaled, dot};
use crate::precision::Precision;
use candle_core::{bail, Result};
use half::bf16;
use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ffi::{c_char, c_int, c_uint, c_void, CString};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

pub struct Host {
    /// How many were made before.
    number: u64,
    captured: Mutex<Option<Vec<Call>>>,
    /// How many captures are still refused.
    refused: Mutex<usize>,
    /// Whether blocks and threads run from the last to the first.
    backwards: bool,
}

/// What is asked of a device.
enum Call {
    Launch { kernel: CString, blocks: u32, threads: u32, backwards: bool, arguments: Vec<u64> },
    Convolve { geometry: Geometry, pass: Pass, addresses: [u64; 3] },
}

impl Host {
    pub fn new(refused: usize, backwards: bool) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self { number, captured: Mutex::default(), refused: Mutex::new(refused), backwards }
    }

    /// Runs what is asked for, or writes it down.
    ///
    /// # Safety
    /// As for [`Device::launch`] and [`Device::convolve`].
    unsafe fn take(&self, call: Call) -> Result<()> {
        match self.captured().as_mut() {
            Some(captured) => captured.push(call),
            // SAFETY: passed on to the caller.
            None => unsafe { call.run()? },
        }
        Ok(())
    }

    fn captured(&self) -> MutexGuard<'_, Option<Vec<Call>>> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    unsafe fn run(&self) -> Result<()> {
        match self {
            Self::Launch { kernel, blocks, threads, backwards, arguments } => {
                let mut pointers: Vec<*mut c_void> =
                    arguments.iter().map(|argument| std::ptr::from_ref(argument).cast_mut().cast()).collect();
                let arguments = pointers.as_mut_ptr();
                // SAFETY: passed on to the caller; arguments are only read.
                match unsafe { launcher()(kernel.as_ptr(), *blocks, *threads, (*backwards).into(), arguments) } {
                    0 => Ok(()),
                    _ => bail!("there is no kernel {}", kernel.to_string_lossy()),
                }
            }
            Self::Convolve { geometry, pass, addresses } => {
                // SAFETY: passed on to the caller.
                unsafe { convolve_at(geometry, *pass, *addresses) };
                Ok(())
            }
        }
    }
}

impl Graph for Vec<Call> {
    unsafe fn run(&self) -> Result<()> {
        // SAFETY: passed on to the caller.
        self.iter().try_for_each(|call| unsafe { call.run() })
    }
}

/// What every allocation begins with: its own length, in a line of its own.
const HEAD: usize = 64;

extern "C" {
    fn resnet_launch_on_host(
        name: *const c_char,
        blocks: c_uint,
        threads: c_uint,
        backwards: c_int,
        arguments: *mut *mut c_void,
    ) -> c_int;
}

type Launch = unsafe extern "C" fn(*const c_char, c_uint, c_uint, c_int, *mut *mut c_void) -> c_int;

/// What runs a kernel: that of the kernels linked here, or of a library of the same sources that `RESNET_NATIVE_TESTS_KERNELS` names,
/// compiled with a sanitizer.
fn launcher() -> Launch {
    static LAUNCHER: OnceLock<Launch> = OnceLock::new();
    *LAUNCHER.get_or_init(|| {
        let Some(path) = std::env::var_os("RESNET_NATIVE_TESTS_KERNELS") else { return resnet_launch_on_host };
        let name = CString::new(path.as_encoded_bytes()).expect("a path without zeros");
        // SAFETY: the library is made of this crate's kernels, and stays.
        unsafe {
            let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW);
            assert!(!library.is_null(), "RESNET_NATIVE_TESTS_KERNELS: expected a library, got {}", path.display());
            let launch = libc::dlsym(library, c"resnet_launch_on_host".as_ptr());
            assert!(!launch.is_null(), "RESNET_NATIVE_TESTS_KERNELS: {} has no kernels", path.display());
            std::mem::transmute::<*mut c_void, Launch>(launch)
        }
    })
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes + HEAD, HEAD).expect("a length that could be allocated")
}

impl Device for Host {
    fn id(&self) -> Result<[u8; 16]> {
        Ok(u128::from(self.number).to_le_bytes())
    }

    fn stream(&self) -> Result<*mut c_void> {
        Ok(std::ptr::null_mut())
    }

    fn is_done(&self) -> Result<bool> {
        Ok(true)
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        // SAFETY: the layout has a size above 0; the head is written within it.
        unsafe {
            let start = alloc_zeroed(layout(bytes));
            if start.is_null() {
                handle_alloc_error(layout(bytes));
            }
            start.cast::<usize>().write(bytes);
            Ok(start.add(HEAD) as u64)
        }
    }

    fn free(&self, address: u64) {
        // SAFETY: the address is one that `allocate` gave.
        unsafe {
            let start = (address as *mut u8).sub(HEAD);
            let bytes = start.cast::<usize>().read();
            dealloc(start, layout(bytes));
        }
    }

    fn free_memory(&self) -> Result<usize> {
        Ok(usize::MAX)
    }

    /// Two, so that small maps have several blocks and these several rounds.
    fn processors(&self) -> usize {
        2
    }

    unsafe fn upload(&self, address: u64, bytes: &[u8]) -> Result<()> {
        // SAFETY: passed on to the caller.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        Ok(())
    }

    unsafe fn download(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: passed on to the caller.
        unsafe { std::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    unsafe fn launch(&self, kernel: &str, blocks: u32, threads: u32, arguments: &mut [Argument]) -> Result<()> {
        let kernel = CString::new(kernel).expect("a name without zeros");
        let arguments = arguments.iter().map(|argument| argument.0).collect();
        let backwards = self.backwards;
        // SAFETY: passed on to the caller.
        unsafe { self.take(Call::Launch { kernel, blocks, threads, backwards, arguments }) }
    }

    unsafe fn convolve(&self, geometry: &Geometry, pass: Pass, a: u64, b: u64, target: u64) -> Result<()> {
        // SAFETY: passed on to the caller.
        unsafe { self.take(Call::Convolve { geometry: geometry.clone(), pass, addresses: [a, b, target] }) }
    }

    fn begin_capture(&self) -> Result<()> {
        *self.captured() = Some(Vec::new());
        Ok(())
    }

    fn end_capture(&self) -> Result<Captured> {
        let calls = self.captured().take().unwrap_or_default();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = refused.checked_sub(1) {
            *refused = left;
            return Ok(Err("an imitation of a driver that refuses".into()));
        }
        Ok(Ok(Box::new(calls)))
    }
}

unsafe fn convolve_at(geometry: &Geometry, pass: Pass, addresses: [u64; 3]) {
    // SAFETY: passed on to the caller.
    unsafe {
        match geometry.precision {
            Precision::Bf16 => convolve::<bf16>(geometry, pass, addresses),
            Precision::Tf32 | Precision::Fp32 => convolve::<f32>(geometry, pass, addresses),
        }
    }
}

/// What activations and weights are kept as.
trait Stored: Copy + Into<f64> {
    fn rounded(value: f64) -> Self;
}

impl Stored for f32 {
    fn rounded(value: f64) -> Self {
        value as f32
    }
}

impl Stored for bf16 {
    fn rounded(value: f64) -> Self {
        Self::from_f64(value)
    }
}

fn wide<E: Stored>(values: &[E]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

fn round<E: Stored>(values: &[f64], target: &mut [E]) {
    target.iter_mut().zip(values).for_each(|(target, &value)| *target = E::rounded(value));
}

/// By the definition, a tap and a pixel at a time, in f64: what is tested is all but the convolutions.
///
/// # Safety
/// As for [`Device::convolve`].
unsafe fn convolve<E: Stored>(geometry: &Geometry, pass: Pass, [a, b, target]: [u64; 3]) {
    let [x_len, weights_len, y_len] = geometry.lengths();
    // SAFETY: passed on to the caller; the allocations are aligned to cache lines, and kernels begin theirs at elements.
    let source = |address: u64, len: usize| unsafe { std::slice::from_raw_parts(address as *const E, len) };
    // SAFETY: likewise; a target is none of the sources.
    let target = |len: usize| unsafe { std::slice::from_raw_parts_mut(target as *mut E, len) };
    let Geometry { in_channels, out_channels, pixel, accumulate, .. } = *geometry;
    // What lies between the channels of one pixel and of the next stays.
    let begun = |target: &[E], channels: usize, pixel: usize| {
        let mut sums = wide(target);
        if !accumulate {
            sums.chunks_mut(pixel).for_each(|pixel| pixel[..channels].fill(0.0));
        }
        sums
    };
    match pass {
        Pass::Forward => {
            let (x, weights, y) = (wide(source(a, x_len)), source(b, weights_len), target(y_len));
            let mut sums = begun(y, out_channels, pixel[1]);
            for tap in taps(geometry) {
                let weights = wide(&weights[tap.weights.clone()]);
                tap.for_each_pixel(geometry, |x_range, place| sums[place] += dot(&x[x_range], &weights));
            }
            round(&sums, y);
        }
        Pass::InputGradient => {
            let (dy, weights, dx) = (wide(source(a, y_len)), source(b, weights_len), target(x_len));
            let mut sums = begun(dx, in_channels, pixel[0]);
            for tap in taps(geometry) {
                let weights = wide(&weights[tap.weights.clone()]);
                tap.for_each_pixel(geometry, |x_range, place| add_scaled(&mut sums[x_range], dy[place], &weights));
            }
            round(&sums, dx);
        }
        Pass::WeightGradient => {
            let (x, dy, dw) = (wide(source(a, x_len)), wide(source(b, y_len)), target(weights_len));
            for tap in taps(geometry) {
                let dw = &mut dw[tap.weights.clone()];
                let mut sums = begun(dw, dw.len(), dw.len());
                tap.for_each_pixel(geometry, |x_range, place| add_scaled(&mut sums, dy[place], &x[x_range]));
                round(&sums, dw);
            }
        }
    }
}

/// One place of a filter's window: its weights, of all channels.
struct Tap {
    filter: usize,
    at: [usize; 2],
    weights: Range<usize>,
}

/// Every filter's, one filter after the other: in the order of the weights.
fn taps(geometry: &Geometry) -> impl Iterator<Item = Tap> {
    let &Geometry { in_channels, out_channels, groups, kernel: [height, width], .. } = geometry;
    let channels = in_channels / groups;
    (0..out_channels * height * width).map(move |tap| Tap {
        filter: tap / (height * width),
        at: [tap / width % height, tap % width],
        weights: tap * channels..(tap + 1) * channels,
    })
}

impl Tap {
    /// Calls `at(x, y)` for each output pixel whose window has an input there: the input's channels, and the output's place.
    fn for_each_pixel(&self, geometry: &Geometry, mut at: impl FnMut(Range<usize>, usize)) {
        let &Geometry { n, out_channels, input, output, stride, padding, groups, pixel, .. } = geometry;
        let channels = self.weights.len();
        let group = self.filter / (out_channels / groups) * channels;
        let inside = |axis: usize, out: usize| {
            (out * stride[axis] + self.at[axis]).checked_sub(padding[axis]).filter(|&place| place < input[axis])
        };
        for (image, p) in (0..n).flat_map(|image| (0..output[0]).map(move |p| (image, p))) {
            let Some(row) = inside(0, p) else { continue };
            for q in 0..output[1] {
                let Some(column) = inside(1, q) else { continue };
                let x = ((image * input[0] + row) * input[1] + column) * pixel[0] + group;
                at(x..x + channels, ((image * output[0] + p) * output[1] + q) * pixel[1] + self.filter);
            }
        }
    }
}
