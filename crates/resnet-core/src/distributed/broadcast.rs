//! Bytes that rank 0 has and all are to have.

use super::Communicator;
use crate::error::Result;
use resnet_ops::allocate;

/// Bytes that are given at a time, of which each rank passes on its part.
const PIECE: usize = 32 << 20;

/// Gives all ranks the bytes of rank 0; what others have does not count. A rank sends and gets twice as much, however many there are.
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`; as [`Communicator::all_gather`].
pub fn broadcast(communicator: &mut dyn Communicator, bytes: &mut Vec<u8>) -> Result<()> {
    let (rank, ranks) = (communicator.rank(), communicator.size());
    if ranks == 1 {
        return Ok(());
    }
    let mut lengths: Vec<u64> = vec![0; ranks];
    communicator.all_gather(&(bytes.len() as u64).to_le_bytes(), bytemuck::cast_slice_mut(&mut lengths))?;
    let len = u64::from_le(lengths[0]) as usize;
    if rank > 0 {
        *bytes = allocate::zeros(len)?;
    }
    let part = PIECE.min(len).div_ceil(ranks);
    let (mut sent, mut parts): (Vec<u8>, Vec<u8>) = (allocate::zeros(ranks * part)?, allocate::zeros(ranks * part)?);
    for piece in bytes.chunks_mut((ranks * part).max(1)) {
        if rank == 0 {
            sent[..piece.len()].copy_from_slice(piece);
        }
        communicator.all_to_all(&sent, &mut parts)?;
        communicator.all_gather(&parts[..part], &mut sent)?;
        piece.copy_from_slice(&sent[..piece.len()]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::threads;
    use std::time::Duration;

    #[test]
    fn all_have_the_bytes_of_the_first() {
        for (size, len) in [(1, 5), (2, 0), (3, 1), (3, PIECE + 7), (4, 1000)] {
            let bytes: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
            std::thread::scope(|scope| {
                for mut rank in threads::ranks(size, Duration::from_secs(20)) {
                    let bytes = &bytes;
                    scope.spawn(move || {
                        let mut own = if rank.rank() == 0 { bytes.clone() } else { vec![9; 3] };
                        broadcast(&mut rank, &mut own).unwrap();
                        assert!(own == *bytes, "{len} bytes on {size} ranks");
                    });
                }
            });
        }
    }
}
