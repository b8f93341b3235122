//! This machine's processor in place of a GPU: the same kernels, compiled by its C++ compiler, and convolutions by the
//! definition. It is slow, and there so that all but cuDNN and the driver can be tested anywhere.

use super::device::{Argument, Captured, Device, Geometry, Graph};
use crate::algorithm::Pass;
use crate::element::dot;
use crate::precision::Precision;
use candle_core::{bail, Result};
use half::bf16;
use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ffi::{c_char, c_int, c_uint, c_void, CString};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

pub struct Host {
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
        Self { captured: Mutex::default(), refused: Mutex::new(refused), backwards }
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

unsafe fn convolve_at(geometry: &Geometry, pass: Pass, [a, b, target]: [u64; 3]) {
    let [x, weights, y] = geometry.lengths();
    let (a_len, b_len, target_len) = match pass {
        Pass::Forward => (x, weights, y),
        Pass::InputGradient => (y, weights, x),
        Pass::WeightGradient => (x, y, weights),
    };
    let bf = match geometry.precision {
        Precision::Bf16 => true,
        Precision::Tf32 | Precision::Fp32 => false,
    };
    // SAFETY: passed on to the caller; the allocations are aligned to cache lines, and kernels begin theirs at elements.
    unsafe {
        let (a, b) = (read(a, a_len, bf), read(b, b_len, bf));
        // What lies between the channels of one pixel and of the next stays.
        let mut values = read(target, target_len, bf);
        convolve(geometry, pass, &a, &b, &mut values);
        write(target, &values, bf);
    }
}

unsafe fn read(address: u64, len: usize, bf: bool) -> Vec<f64> {
    // SAFETY: passed on to the caller.
    unsafe {
        match bf {
            true => {
                std::slice::from_raw_parts(address as *const bf16, len).iter().map(|value| value.to_f64()).collect()
            }
            false => std::slice::from_raw_parts(address as *const f32, len).iter().map(|&value| value.into()).collect(),
        }
    }
}

unsafe fn write(address: u64, values: &[f64], bf: bool) {
    // SAFETY: passed on to the caller.
    unsafe {
        match bf {
            true => {
                let target = std::slice::from_raw_parts_mut(address as *mut bf16, values.len());
                target.iter_mut().zip(values).for_each(|(target, &value)| *target = bf16::from_f64(value));
            }
            false => {
                let target = std::slice::from_raw_parts_mut(address as *mut f32, values.len());
                target.iter_mut().zip(values).for_each(|(target, &value)| *target = value as f32);
            }
        }
    }
}

/// By the definition, a tap and a pixel at a time, in f64: what is tested is all but the convolutions.
fn convolve(geometry: &Geometry, pass: Pass, a: &[f64], b: &[f64], target: &mut [f64]) {
    let Geometry { n, in_channels, out_channels, input, output, kernel, stride, padding, groups, pixel, .. } = geometry;
    let (c, k) = (in_channels / groups, out_channels / groups);
    let clear = |target: &mut [f64], channels: usize, pixel: usize| {
        target.chunks_mut(pixel).for_each(|pixel| pixel[..channels].fill(0.0));
    };
    match pass {
        _ if geometry.accumulate => {}
        Pass::Forward => clear(target, *out_channels, pixel[1]),
        Pass::InputGradient => clear(target, *in_channels, pixel[0]),
        Pass::WeightGradient => target.fill(0.0),
    }
    // Filter by filter and tap by tap: its weights are near, whatever the number of pixels.
    let taps = (0..kernel[0]).flat_map(|r| (0..kernel[1]).map(move |s| (r, s)));
    for (out, (r, s)) in (0..*out_channels).flat_map(|out| taps.clone().map(move |tap| (out, tap))) {
        let weights = ((out * kernel[0] + r) * kernel[1] + s) * c;
        let weights = weights..weights + c;
        for (image, p) in (0..*n).flat_map(|image| (0..output[0]).map(move |p| (image, p))) {
            for q in 0..output[1] {
                let (row, column) = (p * stride[0] + r, q * stride[1] + s);
                let (Some(row), Some(column)) = (row.checked_sub(padding[0]), column.checked_sub(padding[1])) else {
                    continue;
                };
                if row >= input[0] || column >= input[1] {
                    continue;
                }
                let y = ((image * output[0] + p) * output[1] + q) * pixel[1] + out;
                let x = ((image * input[0] + row) * input[1] + column) * pixel[0] + out / k * c;
                let x = x..x + c;
                match pass {
                    Pass::Forward => target[y] += dot(&a[x], &b[weights.clone()]),
                    Pass::InputGradient => {
                        target[x].iter_mut().zip(&b[weights.clone()]).for_each(|(dx, w)| *dx += a[y] * w);
                    }
                    Pass::WeightGradient => {
                        target[weights.clone()].iter_mut().zip(&a[x]).for_each(|(dw, x)| *dw += b[y] * x);
                    }
                }
            }
        }
    }
}
