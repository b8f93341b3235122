//! Is cuDNN there, and what it needs?

use cudarc::cudnn::sys;

/// Its version: major, minor, patch. The error says what to install.
///
/// Without cuBLASLt, which it opens when it is first asked for engines, cuDNN ends the process: so that is looked for here, and kept.
pub fn find() -> Result<[usize; 3], String> {
    let install =
        "install cuDNN 9 for CUDA 13 (the package cudnn9-cuda-13, or nvidia-cudnn-cu13 of Python's), its folder \
                   on LD_LIBRARY_PATH";
    // SAFETY: only looks for the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(format!("there is no cuDNN (libcudnn.so.9): {install}"));
    }
    // SAFETY: asks for a number.
    let version = unsafe { sys::cudnnGetVersion() };
    let version = match [version / 10_000, version / 100 % 100, version % 100] {
        [0..=8, ..] => return Err(format!("the cuDNN found first is too old (its number is {version}): {install}")),
        version => version,
    };
    #[cfg(target_os = "linux")]
    cublas_lt::open()?;
    Ok(version)
}

/// cuBLASLt, where cuDNN would look for it.
#[cfg(target_os = "linux")]
mod cublas_lt {
    use cudarc::cudnn::sys;
    use std::ffi::{c_void, CStr, CString};
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    /// Where Python's packages put it, from the folder of cuDNN's, and cuDNN's own folder.
    pub(super) const FOLDERS: [&str; 3] = ["", "../../cublas/lib", "../../cu13/lib"];

    /// Opens it and keeps it, once.
    pub fn open() -> Result<(), String> {
        static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
        OPENED
            .get_or_init(|| {
                // SAFETY: asks for a number.
                let major = unsafe { sys::cudnnGetCudartVersion() } / 1000;
                open_in(folder().as_deref(), major)
            })
            .clone()
    }

    /// The folder that cuDNN was loaded from.
    fn folder() -> Option<PathBuf> {
        // SAFETY: the library is there, and stays.
        let symbol = unsafe { sys::culib().get::<*const c_void>(b"cudnnGetVersion") }.ok()?;
        let mut found = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: writes what it finds; the name lives as long as the library.
        let path = unsafe {
            match libc::dladdr(*symbol, found.as_mut_ptr()) {
                0 => return None,
                _ => CStr::from_ptr(found.assume_init().dli_fname),
            }
        };
        Some(Path::new(path.to_str().ok()?).parent()?.to_path_buf())
    }

    /// Opens that of CUDA's `major`, from cuDNN's folders or where the loader finds it.
    pub(super) fn open_in(folder: Option<&Path>, major: usize) -> Result<(), String> {
        let name = format!("libcublasLt.so.{major}");
        let beside = folder.map_or(&[] as &[&str], |_| &FOLDERS).iter().zip(folder.into_iter().cycle());
        let beside = beside.map(|(below, folder)| folder.join(below).join(&name).to_string_lossy().into_owned());
        for path in beside.chain([name.clone()]) {
            let path = CString::new(path).expect("a path without zeros");
            // SAFETY: the library is NVIDIA's, which cuDNN would open itself, and is never closed.
            if !unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) }.is_null() {
                return Ok(());
            }
        }
        Err(format!(
            "there is no cuBLASLt ({name}), without which cuDNN ends the process: install it (the package \
             libcublas-{major}-0, or nvidia-cublas of Python's), its folder on LD_LIBRARY_PATH"
        ))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::cublas_lt::{open_in, FOLDERS};
    use std::path::Path;
    use std::process::Command;

    fn run(program: &str, arguments: &[&str]) {
        assert!(Command::new(program).args(arguments).status().unwrap().success());
    }

    #[test]
    fn cublas_lt_is_looked_for_where_cudnn_does() {
        // Numbers that no library has, since what is opened stays.
        let (folder, major) = (std::env::temp_dir().join(format!("resnet-cublas-{}", std::process::id())), 99);
        let cudnn = folder.join("cudnn/lib");
        run("mkdir", &["-p", cudnn.to_str().unwrap()]);
        for place in [None, Some(cudnn.as_path()), Some(Path::new("/nowhere"))] {
            let message = open_in(place, major).unwrap_err();
            assert!(message.contains("no cuBLASLt (libcublasLt.so.99)"), "{message}");
            assert!(message.contains("install it (the package libcublas-99-0"), "{message}");
        }
        for (major, below) in (major..).zip(FOLDERS) {
            let cublas = cudnn.join(below);
            run("mkdir", &["-p", cublas.to_str().unwrap()]);
            let made = cublas.join(format!("libcublasLt.so.{major}"));
            run("cc", &["-shared", "-x", "c", "/dev/null", "-o", made.to_str().unwrap()]);
            assert_eq!(open_in(Some(&cudnn), major), Ok(()), "{below}");
        }
        run("rm", &["-r", folder.to_str().unwrap()]);
    }
}
