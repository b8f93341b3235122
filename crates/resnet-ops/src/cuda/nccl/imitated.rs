//! An imitation of NCCL, whose ranks are threads of one process and whose memory is the host's.

use super::library::{c_path, Library};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Its source.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/cuda/nccl.c");

/// Compiles one with these properties.
pub(super) fn built(properties: &[&str]) -> PathBuf {
    static BUILT: Mutex<usize> = Mutex::new(0);
    let mut built = BUILT.lock().expect("a compiler that has not panicked");
    *built += 1;
    let path = std::env::temp_dir().join(format!("resnet-nccl-{}-{built}.so", std::process::id()));
    let mut command = Command::new("cc");
    command
        .args(["-shared", "-fPIC", "-pthread", "-Wall", "-Werror"])
        .args(properties)
        .arg("-o")
        .arg(&path)
        .arg(SOURCE);
    assert!(command.status().expect("a C compiler").success(), "{SOURCE} does not compile");
    path
}

/// Removes it; what is open stays.
pub(super) fn remove(path: &Path) {
    assert!(Command::new("rm").arg(path).status().is_ok_and(|status| status.success()));
}

/// Has an imitation be found in place of NCCL by all of this process.
///
/// # Panics
/// If there is no C compiler.
pub fn imitate_nccl_for_tests() {
    static IMITATED: std::sync::Once = std::sync::Once::new();
    IMITATED.call_once(|| {
        let path = built(&[]);
        Library::imitate(&c_path(&path)).expect("an imitation that loads");
        remove(&path);
    });
}
