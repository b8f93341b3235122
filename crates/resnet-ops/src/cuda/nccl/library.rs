//! NCCL's library, looked for when it is first asked for. (cudarc would look for it by names that no package of NCCL's gives it, and
//! panic where it lacks a function.)

use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::sync::OnceLock;

/// What the loader knows it by.
const NAME: &CStr = c"libnccl.so.2";
/// The first one whose communicators need not block, as it counts: 2.14.0.
const OLDEST: c_int = 21_400;

/// By which ranks find each other.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct UniqueId(pub [u8; 128]);

/// How a communicator is made, as of 2.14, which later ones read too; the last field fills the word.
#[repr(C)]
pub(super) struct Config {
    size: usize,
    magic: c_uint,
    version: c_uint,
    blocking: c_int,
    cluster_size: c_int,
}

impl Config {
    /// No call waits for other ranks.
    pub fn unblocked() -> Self {
        let undefined = c_int::MIN;
        Self {
            size: size_of::<Self>(),
            magic: 0xcafe_beef,
            version: OLDEST as c_uint,
            blocking: 0,
            cluster_size: undefined,
        }
    }
}

/// A rank's communicator.
pub(super) type Handle = *mut c_void;

macro_rules! functions {
    ($($name:ident = $symbol:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions that are called.
        pub(super) struct Library {
            /// Major, minor, patch.
            pub version: [usize; 3],
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Library {
            /// What was opened, if it has them all.
            ///
            /// # Safety
            /// It must be NCCL, or an imitation.
            unsafe fn of(opened: *mut c_void, version: [usize; 3]) -> Result<Self, String> {
                Ok(Self {
                    version,
                    // SAFETY: passed on to the caller: it is a function of this type.
                    $($name: unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(
                            symbol(opened, $symbol)?
                        )
                    },)*
                })
            }
        }
    };
}

functions! {
    get_unique_id = c"ncclGetUniqueId": fn(*mut UniqueId) -> c_int;
    init = c"ncclCommInitRankConfig": fn(*mut Handle, c_int, UniqueId, c_int, *mut Config) -> c_int;
    finalize = c"ncclCommFinalize": fn(Handle) -> c_int;
    abort = c"ncclCommAbort": fn(Handle) -> c_int;
    async_error = c"ncclCommGetAsyncError": fn(Handle, *mut c_int) -> c_int;
    error_string = c"ncclGetErrorString": fn(c_int) -> *const c_char;
    last_error = c"ncclGetLastError": fn(Handle) -> *const c_char;
    group_start = c"ncclGroupStart": fn() -> c_int;
    group_end = c"ncclGroupEnd": fn() -> c_int;
    send = c"ncclSend": fn(*const c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int;
    receive = c"ncclRecv": fn(*mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int;
    all_gather = c"ncclAllGather": fn(*const c_void, *mut c_void, usize, c_int, Handle, *mut c_void) -> c_int;
}

static FOUND: OnceLock<Result<Library, String>> = OnceLock::new();

impl Library {
    /// The one that the loader finds. The error says what to install.
    pub fn find() -> Result<&'static Self, String> {
        FOUND.get_or_init(|| Self::open(NAME)).as_ref().map_err(Clone::clone)
    }

    /// Has another one be found, if none has been.
    #[cfg(feature = "cuda-host")]
    pub fn imitate(path: &CStr) -> Result<(), String> {
        FOUND.get_or_init(|| Self::open(path)).as_ref().map(drop).map_err(Clone::clone)
    }

    /// The one of this name or path, which is never closed.
    pub fn open(name: &CStr) -> Result<Self, String> {
        let install = "install NCCL 2.14 or newer (the package libnccl2, or nvidia-nccl-cu13 of Python's), its folder on LD_LIBRARY_PATH";
        let shown = name.to_string_lossy();
        // SAFETY: the library is NVIDIA's, by which GPUs are to exchange what they have; dlerror tells of this thread's last call.
        let opened = unsafe {
            let opened = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            if opened.is_null() {
                let reason = CStr::from_ptr(libc::dlerror()).to_string_lossy();
                return Err(match reason.contains("No such file") && reason.starts_with(&*shown) {
                    true => format!("there is no NCCL ({shown}), by which the GPUs of several processes exchange gradients: {install}"),
                    false => format!("NCCL does not load ({reason}): {install}"),
                });
            }
            opened
        };
        let lacks = |what: String| format!("{what}: {install}");
        // SAFETY: the function writes a number.
        let number = unsafe {
            let get = symbol(opened, c"ncclGetVersion").map_err(lacks)?;
            let get: unsafe extern "C" fn(*mut c_int) -> c_int = std::mem::transmute(get);
            let mut number = 0;
            get(&mut number);
            number
        };
        if number < OLDEST {
            return Err(format!("the NCCL found first is too old (its number is {number}): {install}"));
        }
        let number = number as usize;
        let version = [number / 10_000, number / 100 % 100, number % 100];
        // SAFETY: it is what its name says.
        unsafe { Self::of(opened, version) }.map_err(lacks)
    }
}

/// A function of a library.
unsafe fn symbol(opened: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: the library is open.
    match unsafe { libc::dlsym(opened, name.as_ptr()) } {
        found if found.is_null() => Err(format!("the NCCL found first has no {}", name.to_string_lossy())),
        found => Ok(found),
    }
}

/// The path as C has it.
#[cfg(feature = "cuda-host")]
pub(super) fn c_path(path: &std::path::Path) -> std::ffi::CString {
    std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("a path without zeros")
}
