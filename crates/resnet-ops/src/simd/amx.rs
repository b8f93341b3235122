//! Whether there is AMX here.

use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

/// Whether the processor multiplies tiles of bf16, and the system gives them to this process.
pub(super) fn has_bf16() -> bool {
    const BF16: u32 = 1 << 22;
    processor_has(BF16) && is_given()
}

/// Whether the processor multiplies tiles of bytes, and the system gives them to this process.
pub(super) fn has_int8() -> bool {
    const INT8: u32 = 1 << 25;
    processor_has(INT8) && is_given()
}

fn processor_has(products: u32) -> bool {
    const TILE: u32 = 1 << 24;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (products | TILE) == products | TILE
}

/// The system is asked once.
fn is_given() -> bool {
    static GIVEN: OnceLock<bool> = OnceLock::new();
    *GIVEN.get_or_init(|| system_saves_tiles() && system_grants_tiles())
}

/// Whether the system switches the tiles' configuration and data when it switches threads.
fn system_saves_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILES: u32 = 3 << 17;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let enabled: u32;
    // SAFETY: with OSXSAVE a program may read this register; nothing else changes.
    unsafe {
        std::arch::asm!(
            "xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nomem, nostack, preserves_flags)
        );
    }
    enabled & TILES == TILES
}

/// Asks Linux for the state of tiles, which it keeps for processes that have asked. Threads that begin later have it too, and so have
/// those that are there.
#[cfg(target_os = "linux")]
fn system_grants_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: a number is asked for by its number; no memory is touched.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

/// How other systems give them nobody has tried here.
#[cfg(not(target_os = "linux"))]
fn system_grants_tiles() -> bool {
    false
}
