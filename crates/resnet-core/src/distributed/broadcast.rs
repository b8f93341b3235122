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
    let len = (bytes.len() as u64).to_le_bytes();
    communicator.all_gather(&len, len.len(), bytemuck::cast_slice_mut(&mut lengths))?;
    if rank > 0 {
        *bytes = allocate::zeros(u64::from_le(lengths[0]) as usize)?;
    }
    for piece in bytes.chunks_mut(PIECE) {
        let part = piece.len().div_ceil(ranks);
        let own = (rank * part).min(piece.len())..((rank + 1) * part).min(piece.len());
        let mut theirs: Vec<u8> = allocate::zeros(ranks * own.len())?;
        communicator.all_to_all(piece, part, &mut theirs)?;
        communicator.all_gather(&theirs[..own.len()], part, piece)?;
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
