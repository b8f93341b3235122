//! What ranks exchange, cut into pieces that are each exchanged as parts of one length: a message has no size that MPI cannot count, and
//! what stages bytes on their way is as small as a piece.

use std::ops::Range;

/// An exchange that all ranks make together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collective {
    /// As [`Communicator::all_gather`](super::Communicator::all_gather).
    AllGather,
    /// As [`Communicator::all_to_all`](super::Communicator::all_to_all).
    AllToAll,
}

/// An exchange of parts of so many bytes among so many ranks.
#[derive(Clone, Copy, Debug)]
pub struct Exchanged {
    /// What it is.
    pub collective: Collective,
    /// Bytes of each rank's part, of which the last ones may have less.
    pub part: usize,
    /// Number of ranks.
    pub ranks: usize,
}

impl Exchanged {
    /// The pieces of each part, so that those of all ranks have together as many bytes at most, or one of each.
    pub fn pieces(self, most: usize) -> impl Iterator<Item = Range<usize>> {
        let piece = (most / self.ranks).max(1);
        (0..self.part).step_by(piece).map(move |start| start..self.part.min(start + piece))
    }

    /// Bytes that come in with a piece.
    pub fn received(self, piece: &Range<usize>) -> usize {
        self.ranks * piece.len()
    }

    /// What goes out with a piece: the same of each part of `mine`, zeros where one ends before.
    pub fn write(self, mine: &[u8], piece: &Range<usize>, sent: &mut Vec<u8>) {
        let parts = match self.collective {
            Collective::AllGather => 1,
            Collective::AllToAll => self.ranks,
        };
        sent.clear();
        sent.reserve(parts * piece.len());
        for part in 0..parts {
            sent.extend_from_slice(&mine[within(self.part, part, mine.len(), piece)]);
            sent.resize((part + 1) * piece.len(), 0);
        }
    }

    /// Takes what has come in with a piece to its places.
    pub fn read(self, received: &[u8], piece: &Range<usize>, theirs: &mut [u8]) {
        let part = match self.collective {
            Collective::AllGather => self.part,
            Collective::AllToAll => theirs.len() / self.ranks,
        };
        for (rank, received) in received.chunks_exact(piece.len()).enumerate() {
            let end = theirs.len().min((rank + 1) * part);
            let place = within(part, rank, end, piece);
            let len = place.len();
            theirs[place].copy_from_slice(&received[..len]);
        }
    }
}

/// Where a piece of a part lies, of which nothing lies beyond `end`.
fn within(part: usize, index: usize, end: usize, piece: &Range<usize>) -> Range<usize> {
    let at = |offset: usize| (index * part + offset).min(end);
    at(piece.start)..at(piece.end)
}

#[cfg(test)]
mod tests {
    use super::{Collective, Exchanged};

    /// What each rank has of an exchange that goes in pieces, where rank r gives bytes that begin with 10 (r + 1).
    fn exchanged(collective: Collective, len: usize, part: usize, ranks: usize, most: usize) -> Vec<Vec<u8>> {
        let of = |rank: usize| (rank * part).min(len)..((rank + 1) * part).min(len);
        let given = |rank: usize| -> Vec<u8> {
            let len = if collective == Collective::AllGather { of(rank).len() } else { len };
            (0..len).map(|byte| (10 * (rank + 1) + byte) as u8).collect()
        };
        let exchange = Exchanged { collective, part, ranks };
        let room = |rank| if collective == Collective::AllGather { len } else { ranks * of(rank).len() };
        let mut all: Vec<Vec<u8>> = (0..ranks).map(|rank| vec![0; room(rank)]).collect();
        for piece in exchange.pieces(most) {
            let sent = (0..ranks).map(|rank| {
                let mut sent = vec![9; 3];
                exchange.write(&given(rank), &piece, &mut sent);
                sent
            });
            let sent: Vec<_> = sent.collect();
            for (rank, theirs) in all.iter_mut().enumerate() {
                let received = sent.iter().flat_map(|sent| match collective {
                    Collective::AllGather => sent.clone(),
                    Collective::AllToAll => sent[rank * piece.len()..][..piece.len()].to_vec(),
                });
                let received: Vec<u8> = received.collect();
                assert_eq!(received.len(), exchange.received(&piece));
                exchange.read(&received, &piece, theirs);
            }
        }
        all
    }

    #[test]
    fn pieces_come_to_the_whole_whatever_their_size() {
        // Parts that are equal, a last one that is shorter, last ones of which there is nothing.
        for (len, part, ranks) in [(12, 4, 3), (10, 4, 3), (5, 2, 4), (1, 1, 3), (0, 0, 2)] {
            let of = |rank: usize| (rank * part).min(len)..((rank + 1) * part).min(len);
            let byte = |rank: usize, at: usize| (10 * (rank + 1) + at) as u8;
            let gathered: Vec<u8> =
                (0..ranks).flat_map(|rank| (0..of(rank).len()).map(move |at| byte(rank, at))).collect();
            for most in [1, 3, 6, 7, 1000] {
                let all = exchanged(Collective::AllGather, len, part, ranks, most);
                assert!(all.iter().all(|found| *found == gathered), "{all:?}");
                for (rank, found) in exchanged(Collective::AllToAll, len, part, ranks, most).into_iter().enumerate() {
                    let expected: Vec<u8> =
                        (0..ranks).flat_map(|from| of(rank).map(move |at| byte(from, at))).collect();
                    assert_eq!(found, expected, "{len} bytes, rank {rank} of {ranks}, pieces of {most}");
                }
            }
        }
    }
}
