//! The lengths of activations that are blocked by 16 channels: see [`crate::layout`].

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
