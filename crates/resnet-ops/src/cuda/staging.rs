//! The way of the host's data to a GPU: through two parts of memory that the GPU reads itself, one filled while the other is read.

use candle_core::Result;

/// Bytes of a part.
pub(super) const PART: usize = 4 << 20;

/// The number of parts.
pub(super) const PARTS: usize = 2;

/// Hands out the parts in turn: `send` is told which one, how far into all bytes it begins, and what goes through it.
pub(super) fn in_parts(
    bytes: &[u8],
    next: &mut usize,
    mut send: impl FnMut(usize, usize, &[u8]) -> Result<()>,
) -> Result<()> {
    for (index, piece) in bytes.chunks(PART).enumerate() {
        let part = *next;
        *next = (part + 1) % PARTS;
        send(part, index * PART, piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{in_parts, PART};

    #[test]
    fn all_bytes_go_in_order_through_one_part_after_the_other() {
        let bytes: Vec<u8> = (0..2 * PART + 5).map(|i| (i % 251) as u8).collect();
        let (mut arrived, mut parts, mut next) = (vec![0; bytes.len()], Vec::new(), 0);
        for _ in 0..2 {
            let sent = in_parts(&bytes, &mut next, |part, start, piece| {
                parts.push(part);
                arrived[start..][..piece.len()].copy_from_slice(piece);
                Ok(())
            });
            sent.unwrap();
            assert!(arrived == bytes);
            arrived.fill(0);
        }
        assert_eq!(parts, [0, 1, 0, 1, 0, 1]);
    }
}
