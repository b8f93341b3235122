//! The weights that a network starts with.

use super::layer::Init;
use super::params::{Parameter, Params, Role};
use crate::error::{Code, Error, Result};
use crate::rng::{stream, Purpose};

/// Draws what training learns and sets the running statistics: flat storages in the order of [`Params`]. Each parameter's
/// draw depends on the seed and its name, and on nothing else in the network.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if there is not enough memory.
pub fn initialise(init: Init, params: &Params, seed: u64) -> Result<(Vec<f32>, Vec<f32>)> {
    let mut learnt = reserve(params.learnt_len())?;
    for parameter in &params.learnt {
        draw(init, parameter, seed, &mut learnt);
    }
    let mut running = reserve(params.running_len())?;
    for parameter in &params.running {
        draw(init, parameter, seed, &mut running);
    }
    Ok((learnt, running))
}

fn reserve(len: usize) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| {
        let given = format!("{len} parameters");
        Error::expected(Code::InvalidArgument, "network", "parameters that fit into memory", given)
    })?;
    Ok(values)
}

/// Appends a parameter's first values.
fn draw(init: Init, parameter: &Parameter, seed: u64, values: &mut Vec<f32>) {
    let end = values.len() + parameter.range.len();
    let bound = match parameter.role {
        Role::NormWeight | Role::RunningVar => return values.resize(end, 1.0),
        Role::NormBias | Role::RunningMean => return values.resize(end, 0.0),
        Role::Weight => match init {
            Init::XavierUniform => (6.0 / (parameter.fan_in as f64 + parameter.fan_out as f64)).sqrt(),
        },
        Role::Bias => 1.0 / (parameter.fan_in as f64).sqrt(),
    };
    let mut numbers = stream(seed, Purpose::Init, fnv1a64(&parameter.name), 0);
    values.resize_with(end, || numbers.uniform(bound) as f32);
}

/// The 64-bit FNV-1a hash.
fn fnv1a64(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::residual;
    use crate::model::layer::{Child, Layer};
    use crate::model::resnet::{resnet, ResNetOptions};
    use crate::model::shape::{trace, Shape};

    fn params(root: &Layer) -> Params {
        Params::of(&trace(root, Shape::Map { channels: 64, size: None }).unwrap()).unwrap()
    }

    #[test]
    fn hashes_are_fnv1a() {
        assert_eq!(fnv1a64(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn weights_and_biases_fill_their_bounds() {
        let network = resnet(&ResNetOptions::resnet18(10)).unwrap();
        let params = params(&network.root);
        let (learnt, _) = initialise(network.init, &params, 3).unwrap();
        for parameter in params.learnt.iter().filter(|parameter| parameter.fan_in > 0) {
            let bound = match (parameter.role, parameter.shape.as_slice()) {
                (Role::Bias, _) => (1.0 / parameter.fan_in as f64).sqrt(),
                (_, &[outputs, inputs, h, w]) => (6.0 / ((outputs + inputs) * h * w) as f64).sqrt(),
                (_, shape) => (6.0 / shape.iter().sum::<usize>() as f64).sqrt(),
            };
            let values = &learnt[parameter.range.clone()];
            let count = values.len() as f64;
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
            let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
            let largest = values.iter().fold(0f32, |largest, x| largest.max(x.abs()));
            assert!(f64::from(largest) <= bound * (1.0 + 1e-7), "{}", parameter.name);
            // Five standard deviations of the mean and of the variance of a uniform distribution.
            let (expected, deviations) = (bound * bound / 3.0, 5.0 / count.sqrt());
            assert!(mean.abs() < deviations * expected.sqrt(), "{} mean {mean}", parameter.name);
            let allowed = deviations * 0.8f64.sqrt() * expected * (1.0 + deviations);
            assert!((variance - expected).abs() < allowed, "{} variance {variance}", parameter.name);
        }
    }

    #[test]
    fn batch_norms_start_as_the_identity() {
        let params = params(&residual(64, false, 1).unwrap());
        let (learnt, running) = initialise(Init::XavierUniform, &params, 0).unwrap();
        assert_eq!(running.len(), params.running_len());
        for parameter in params.in_order() {
            let expected = match parameter.role {
                Role::NormWeight | Role::RunningVar => 1.0,
                Role::NormBias | Role::RunningMean => 0.0,
                Role::Weight | Role::Bias => continue,
            };
            assert!(parameter.values(&learnt, &running).iter().all(|&x| x == expected), "{}", parameter.name);
        }
    }

    #[test]
    fn a_draw_depends_on_seed_and_name_alone() {
        let block = || residual(64, false, 1).unwrap();
        let children = vec![Child::new("other", block()), Child::new("", block())];
        let (alone, longer) = (params(&block()), params(&Layer::Sequential { children }));
        let draw = |params: &Params, seed| {
            let (learnt, _) = initialise(Init::XavierUniform, params, seed).unwrap();
            let find = |parameter: &&Parameter| parameter.name == "conv2.weight";
            learnt[params.learnt.iter().find(find).unwrap().range.clone()].to_vec()
        };
        assert_eq!(draw(&alone, 5), draw(&longer, 5));
        assert_ne!(draw(&alone, 5), draw(&alone, 6));
    }

    #[test]
    fn too_many_parameters_are_an_error() {
        let root = Layer::Conv2d {
            out_channels: 1 << 28,
            kernel: [1 << 14, 1 << 13],
            stride: [1, 1],
            padding: [0, 0],
            groups: 1,
            bias: false,
        };
        let error = initialise(Init::XavierUniform, &params(&root), 0).unwrap_err();
        assert!(error.message.ends_with("got 2305843009213693952 parameters"), "{error}");
    }
}
