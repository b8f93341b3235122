//! Activations that are blocked by 16 channels: how long they are, and where channels lie. See [`crate::layout`].

use std::ops::Range;

/// Channels in a block.
pub const LANES: usize = 16;

/// Blocks that hold `channels` channels.
pub const fn blocks(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// Elements of a blocked activation of `n` images with `c` channels of `h` by `w` pixels.
pub const fn blocked_len(n: usize, c: usize, h: usize, w: usize) -> usize {
    n * blocks(c) * h * w * LANES
}

/// The channels of block number `block`, of `channels` in all.
pub(crate) fn channels_of(channels: usize, block: usize) -> Range<usize> {
    block * LANES..channels.min((block + 1) * LANES)
}

/// The blocks that these channels lie in, each with their lanes in it.
pub(crate) fn lanes_of(channels: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
    let Range { start, end } = channels;
    (start / LANES..end.div_ceil(LANES)).map(move |block| {
        let first = block * LANES;
        (block, start.saturating_sub(first)..(end - first).min(LANES))
    })
}
