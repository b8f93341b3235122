//! Numbers that tests and the scripts in `tools/` draw alike from a hash of a name; `tools/pytorch_fixtures.py` defines it.

/// The hashed integers of a name: entry 0, 1, 2, …
pub fn bits(name: &str) -> impl Iterator<Item = u64> {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3) // FNV-1a
    });
    (1u64..).map(move |i| {
        let mut z = hash.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)); // splitmix64
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// The hashed numbers of a name, in [0, 1).
pub fn unit(name: &str) -> impl Iterator<Item = f64> {
    const STEPS: f64 = (1u64 << 53) as f64;
    bits(name).map(|bits| (bits >> 11) as f64 / STEPS)
}
