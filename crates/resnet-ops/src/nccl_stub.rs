//! In place of NCCL, where there is none.

use crate::{Buffer, DeviceError, Executor, Result};
use std::time::Duration;

/// The GPUs of all ranks: in this build there are none.
pub enum NcclCommunicator {}

impl NcclCommunicator {
    /// Bytes by which ranks find each other.
    pub const ID: usize = 128;

    /// NCCL's version.
    ///
    /// # Errors
    /// Always.
    pub fn version() -> Result<[usize; 3]> {
        Err(none())
    }

    /// What ranks find each other by.
    ///
    /// # Errors
    /// Always.
    pub fn unique_id() -> Result<[u8; Self::ID]> {
        Err(none())
    }

    /// Joins.
    ///
    /// # Errors
    /// Always.
    pub fn join(
        _: &Executor,
        _: [u8; Self::ID],
        _: usize,
        _: usize,
        _: Duration,
        _: &mut dyn FnMut() -> bool,
    ) -> Result<Self> {
        Err(none())
    }

    /// Sends every rank its slice.
    ///
    /// # Errors
    /// Never.
    pub fn scatter(&mut self, _: &[&Buffer], _: &mut [Buffer], _: &[usize], _: &mut dyn FnMut() -> bool) -> Result<()> {
        match *self {}
    }

    /// Gives all ranks what each has.
    ///
    /// # Errors
    /// Never.
    pub fn all_gather(
        &mut self,
        _: &Executor,
        _: &Buffer,
        _: &mut Buffer,
        _: &mut Buffer,
        _: &mut dyn FnMut() -> bool,
    ) -> Result<()> {
        match *self {}
    }

    /// Ends.
    pub fn finish(self) {
        match self {}
    }
}

fn none() -> crate::Error {
    DeviceError::Nccl("NCCL is there for CUDA's addon on Linux alone".into()).into()
}
