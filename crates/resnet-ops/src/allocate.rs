//! Vectors whose length comes from data, a network or a file, so that there may be no memory for them.

use crate::element::Element;
use crate::{DeviceError, Result};
use std::alloc::{alloc_zeroed, Layout};

/// An empty vector with room for `len` elements.
///
/// # Errors
/// [`DeviceError::OutOfMemory`] if there is not so much memory.
pub fn with_room<T>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    make_room(&mut values, len)?;
    Ok(values)
}

/// Room in a vector for `len` elements in all.
///
/// # Errors
/// [`DeviceError::OutOfMemory`] if there is not so much memory; the vector is as it was then.
pub fn make_room<T>(values: &mut Vec<T>, len: usize) -> Result<()> {
    Ok(values.try_reserve_exact(len.saturating_sub(values.len())).map_err(|_| none_left::<T>(len))?)
}

/// `len` zeros. Many of them are the system's, which makes them when they are first touched: to be had takes no time, whatever the length.
///
/// # Errors
/// [`DeviceError::OutOfMemory`] if there is not so much memory.
pub fn zeros<T: Element>(len: usize) -> Result<Vec<T>> {
    let layout = Layout::array::<T>(len).map_err(|_| none_left::<T>(len))?;
    if layout.size() == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout is not empty.
    let first = unsafe { alloc_zeroed(layout) };
    if first.is_null() {
        return Err(none_left::<T>(len).into());
    }
    // SAFETY: this is what a vector of `len` elements allocates, and of a number zeros are all bytes of a zero.
    Ok(unsafe { Vec::from_raw_parts(first.cast(), len, len) })
}

/// Asks for so many bytes and gives them back, before a task that allocates about as much in pieces that cannot fail one by one.
///
/// # Errors
/// [`DeviceError::OutOfMemory`] if there is not so much memory.
pub fn check_room(bytes: usize) -> Result<()> {
    with_room::<u8>(bytes).map(drop)
}

fn none_left<T>(len: usize) -> DeviceError {
    DeviceError::OutOfMemory(format!("out of memory: {} bytes asked for", len.saturating_mul(size_of::<T>())))
}

/// So many copies of a value.
///
/// # Errors
/// [`DeviceError::OutOfMemory`] if there is not so much memory.
pub fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>> {
    let mut values = with_room(len)?;
    values.resize(len, value);
    Ok(values)
}

/// A copy of these values.
///
/// # Errors
/// [`DeviceError::OutOfMemory`] if there is not so much memory.
pub fn copy_of<T: Clone>(values: &[T]) -> Result<Vec<T>> {
    let mut copy = with_room(values.len())?;
    copy.extend_from_slice(values);
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_memory_for_is_an_error() {
        let most = isize::MAX as usize / 8;
        for error in [
            with_room::<u64>(most).unwrap_err(),
            zeros::<f64>(most).unwrap_err(),
            zeros::<f64>(usize::MAX).unwrap_err(),
            check_room(isize::MAX as usize).unwrap_err(),
        ] {
            assert!(matches!(DeviceError::of(&error), Some(DeviceError::OutOfMemory(_))), "{error}");
        }
        let mut values = copy_of(&[1u8, 2]).unwrap();
        make_room(&mut values, usize::MAX).unwrap_err();
        assert_eq!(values, [1, 2]);
    }
}
