//! How a batch is cut into shards, and which rank has which.

use std::ops::Range;

/// A number of shards of every batch, at least as many as there are ranks, and one of the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharding {
    /// Shards of a batch.
    pub shards: usize,
    /// Number of ranks.
    pub ranks: usize,
    /// One of them.
    pub rank: usize,
}

impl Sharding {
    /// The images of a shard of `n` images: shards follow each other and differ by an image at most. Of fewer images than shards some have none.
    pub fn images(self, n: usize, shard: usize) -> Range<usize> {
        n * shard / self.shards..n * (shard + 1) / self.shards
    }

    /// Images of the largest shard of `n`.
    pub fn largest(self, n: usize) -> usize {
        n.div_ceil(self.shards)
    }

    /// The shards of a rank.
    pub fn of(self, rank: usize) -> Range<usize> {
        rank * self.shards / self.ranks..(rank + 1) * self.shards / self.ranks
    }

    /// This rank's.
    pub fn own(self) -> Range<usize> {
        self.of(self.rank)
    }

    /// The most that a rank has.
    pub fn most(self) -> usize {
        self.shards.div_ceil(self.ranks)
    }
}

#[cfg(test)]
mod tests {
    use super::Sharding;

    #[test]
    fn every_image_is_in_one_shard_and_every_shard_on_one_rank() {
        for (shards, ranks, n) in [(1, 1, 5), (4, 1, 16), (4, 4, 3), (7, 3, 100), (8, 5, 0), (3, 2, 4)] {
            let of = |rank| Sharding { shards, ranks, rank };
            let all: Vec<usize> = (0..ranks).flat_map(|rank| of(rank).own()).collect();
            assert_eq!(all, (0..shards).collect::<Vec<_>>());
            let images: Vec<usize> = all.iter().flat_map(|&shard| of(0).images(n, shard)).collect();
            assert_eq!(images, (0..n).collect::<Vec<_>>());
            assert_eq!((0..shards).map(|shard| of(0).images(n, shard).len()).max().unwrap(), of(0).largest(n));
            assert_eq!((0..ranks).map(|rank| of(0).of(rank).len()).max().unwrap(), of(0).most());
        }
    }
}
