//! How much memory a reader may take.

use cap::Cap;
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Does something with at most so many bytes of memory beside what is in use. It is told that there are no more: an error
/// `ERR_OUT_OF_MEMORY`, which no target expects, or the end of the process.
pub fn within<T>(bytes: usize, body: impl FnOnce() -> T) -> T {
    let limit = |bytes| ALLOCATOR.set_limit(bytes).expect("less is in use");
    limit(ALLOCATOR.allocated() + bytes);
    let result = body();
    limit(usize::MAX);
    result
}
