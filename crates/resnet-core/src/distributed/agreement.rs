//! What all ranks must have alike before they begin.

use super::Communicator;
use crate::error::{Code, Error, Result};
use sha2::{Digest as _, Sha256};

/// Bytes of a digest.
const LEN: usize = 32;

/// Things by name, as digests.
#[derive(Default)]
pub struct Agreement {
    names: Vec<&'static str>,
    digests: Vec<u8>,
}

impl Agreement {
    /// With one more thing, of these bytes.
    pub fn on(mut self, name: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        self.names.push(name);
        self.digests.extend(Sha256::digest(bytes));
        self
    }

    /// Refuses to go on if a rank has something that rank 0 has not; all ranks come to the same.
    ///
    /// # Errors
    /// `ERR_DISTRIBUTED` names the first such rank, and what it has otherwise; as [`Communicator::all_gather`].
    pub fn check(&self, communicator: &mut dyn Communicator) -> Result<()> {
        if communicator.size() == 1 {
            return Ok(());
        }
        let mut all = vec![0; self.digests.len() * communicator.size()];
        communicator.all_gather(&self.digests, self.digests.len(), &mut all)?;
        let (first, others) = all.split_at(self.digests.len());
        for (rank, digests) in (1..).zip(others.chunks_exact(first.len())) {
            let differs = |(ours, theirs): (&[u8], &[u8])| ours != theirs;
            if let Some(index) = first.chunks(LEN).zip(digests.chunks(LEN)).position(differs) {
                let expected = format!("every rank to have the {} of rank 0", self.names[index]);
                return Err(Error::expected(
                    Code::Distributed,
                    "distributed",
                    expected,
                    format!("another on rank {rank}"),
                ));
            }
        }
        Ok(())
    }
}
