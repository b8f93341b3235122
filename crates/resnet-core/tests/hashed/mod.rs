//! Numbers that tests and the scripts in `tools/` draw alike from a hash of a name; `tools/pytorch_fixtures.py` defines it.

use resnet_core::model::params::{Parameter, Role};

/// Entries of a large tensor that fixtures keep.
const SAMPLES: usize = 64;

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

/// The values that a parameter or a running statistic starts from.
pub fn values(parameter: &Parameter) -> Vec<f32> {
    let fans = (parameter.fan_in + parameter.fan_out) as f64;
    let value = |u: f64| match parameter.role {
        Role::Weight => (6.0 / fans).sqrt() * u,
        Role::Bias | Role::RunningMean => 0.1 * u,
        Role::NormWeight => 1.0 + 0.2 * u,
        Role::NormBias => 0.2 * u,
        Role::RunningVar => 1.0 + 0.3 * u,
    };
    unit(&parameter.name).take(parameter.range.len()).map(|unit| value(2.0 * unit - 1.0) as f32).collect()
}

/// The entries of a tensor that fixtures keep.
pub fn sample(name: &str, tensor: &[f64]) -> Vec<f64> {
    if tensor.len() <= SAMPLES {
        return tensor.to_vec();
    }
    let indices = bits(&format!("index.{name}")).take(SAMPLES);
    indices.map(|bits| tensor[(bits % tensor.len() as u64) as usize]).collect()
}
