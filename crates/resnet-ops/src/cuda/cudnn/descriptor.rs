//! cuDNN's descriptors: what its graph API is told, and what it answers.

use crate::DeviceError;
use candle_core::Result;
use cudarc::cudnn::sys::{self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type};
use cudarc::cudnn::sys::{cudnnBackendDescriptorType_t as Kind, cudnnStatus_t as Status};
use std::ffi::{c_char, CStr};

/// A descriptor of cuDNN's.
pub struct Descriptor(pub sys::cudnnBackendDescriptor_t);

/// Makes an error of a status that tells of one, in cuDNN's own words.
pub fn check(what: &str, status: Status) -> Result<()> {
    if status == Status::CUDNN_STATUS_SUCCESS {
        return Ok(());
    }
    // SAFETY: cuDNN's texts are constants.
    let name = unsafe { CStr::from_ptr(sys::cudnnGetErrorString(status)) };
    let mut reason = [0u8; 512];
    // SAFETY: there is room for so many bytes, of which the last stays zero.
    unsafe { sys::cudnnGetLastErrorString(reason.as_mut_ptr().cast::<c_char>(), reason.len() - 1) };
    let reason = CStr::from_bytes_until_nul(&reason).map(CStr::to_string_lossy).unwrap_or_default();
    let told = if reason.trim().is_empty() { String::new() } else { format!(", {}", reason.trim()) };
    Err(DeviceError::Failed(format!("cuDNN failed ({what}): {}{told}", name.to_string_lossy())).into())
}

impl Descriptor {
    pub fn new(kind: Kind) -> Result<Self> {
        let mut descriptor = std::ptr::null_mut();
        // SAFETY: writes the new descriptor.
        check("descriptor", unsafe { sys::cudnnBackendCreateDescriptor(kind, &mut descriptor) })?;
        Ok(Self(descriptor))
    }

    /// Sets an attribute, whose type must be that of the values.
    pub fn set<V>(self, name: Name, kind: Type, values: &[V]) -> Result<Self> {
        let (len, values) = (values.len() as i64, values.as_ptr().cast());
        // SAFETY: there are `len` values.
        check(&format!("{name:?}"), unsafe { sys::cudnnBackendSetAttribute(self.0, name, kind, len, values) })?;
        Ok(self)
    }

    pub fn set_descriptor(self, name: Name, descriptor: &Self) -> Result<Self> {
        self.set(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &[descriptor.0])
    }

    pub fn finalize(self, what: &str) -> Result<Self> {
        // SAFETY: the descriptor was made by `new`.
        check(what, unsafe { sys::cudnnBackendFinalize(self.0) })?;
        Ok(self)
    }

    /// Up to `values.len()` values of an attribute; returns how many there are.
    pub fn get<V>(&self, name: Name, kind: Type, values: &mut [V]) -> Result<usize> {
        let (mut count, len) = (0, values.len() as i64);
        // SAFETY: there is room for `len` values.
        let status =
            unsafe { sys::cudnnBackendGetAttribute(self.0, name, kind, len, &mut count, values.as_mut_ptr().cast()) };
        check(&format!("{name:?}"), status)?;
        Ok((count as usize).min(values.len()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: nobody has it any more.
        unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}
