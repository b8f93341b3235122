//! The weights that a network starts with.

use super::layer::Init;
use super::params::{Parameter, Params};
use crate::error::Result;
use crate::rng::{stream, Purpose};
use resnet_ops::allocate::zeros;

/// Draws the parameters and sets the running statistics: flat storages in the order of [`Params`]. Each parameter's
/// draw depends on the seed and its name, and on nothing else in the network.
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`.
pub fn initialise(params: &Params, seed: u64) -> Result<(Vec<f32>, Vec<f32>)> {
    initialise_some(params, seed, |_| true)
}

/// [`initialise`] of those whose names are `wanted`; the others are zero.
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`.
pub fn initialise_some(params: &Params, seed: u64, wanted: impl Fn(&str) -> bool) -> Result<(Vec<f32>, Vec<f32>)> {
    let drawn = |list: &[Parameter], len| -> Result<Vec<f32>> {
        let mut values = zeros(len)?;
        for parameter in list.iter().filter(|parameter| wanted(&parameter.name)) {
            draw(parameter, seed, &mut values[parameter.range.clone()]);
        }
        Ok(values)
    };
    Ok((drawn(&params.parameters, params.parameters_len())?, drawn(&params.running, params.running_len())?))
}

/// Writes a parameter's first values.
fn draw(parameter: &Parameter, seed: u64, values: &mut [f32]) {
    let (fan_in, fan_out) = (parameter.fan_in as f64, parameter.fan_out as f64);
    let mut numbers = stream(seed, Purpose::Init, fnv1a64(&parameter.name), 0);
    let mut uniform = |bound: f64| values.fill_with(|| numbers.uniform(bound) as f32);
    match parameter.init {
        Init::XavierUniform => uniform((6.0 / (fan_in + fan_out)).sqrt()),
        Init::TorchDefault => uniform(1.0 / fan_in.sqrt()),
        Init::KaimingNormal => numbers.fill_normal((2.0 / fan_out).sqrt(), values),
        Init::Zeros => values.fill(0.0),
        Init::Ones => values.fill(1.0),
    }
}

/// The 64-bit FNV-1a hash.
fn fnv1a64(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::model::block::basic;
    use crate::model::graph::trace;
    use crate::model::layer::{Child, Layer};
    use crate::model::params::Role;
    use crate::model::resnet::{resnet, Flavor, ResNetOptions};
    use crate::model::shape::Shape;
    use crate::model::zoo::preset;

    fn params(root: &Layer) -> Params {
        Params::of(&trace(root, Shape::Map { channels: 64, size: None }).unwrap()).unwrap()
    }

    #[test]
    fn hashes_are_fnv1a() {
        assert_eq!(fnv1a64(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64("foobar"), 0x8594_4171_f739_67e8);
    }

    /// Variance, fourth moment over its square, and bound of what a parameter is drawn from, by PyTorch's formulas.
    fn distribution(flavor: Flavor, parameter: &Parameter) -> (f64, f64, f64) {
        let uniform = |bound: f64| (bound * bound / 3.0, 1.8, bound);
        match (flavor, parameter.role, parameter.shape.as_slice()) {
            (_, Role::Bias, _) | (Flavor::Torchvision, _, [_, _]) => uniform((1.0 / parameter.fan_in as f64).sqrt()),
            (Flavor::Torchvision, _, &[outputs, _, h, w]) => (2.0 / (outputs * h * w) as f64, 3.0, f64::INFINITY),
            (Flavor::D2l, _, &[outputs, inputs, h, w]) => uniform((6.0 / ((outputs + inputs) * h * w) as f64).sqrt()),
            (_, _, shape) => uniform((6.0 / shape.iter().sum::<usize>() as f64).sqrt()),
        }
    }

    #[test]
    fn weights_and_biases_have_the_distribution_of_their_flavor() {
        for flavor in [Flavor::D2l, Flavor::Torchvision] {
            let params = params(&resnet(&ResNetOptions { flavor, ..preset("resnet18").unwrap() }).unwrap());
            let (parameters, _) = initialise(&params, 3).unwrap();
            for parameter in params.parameters.iter().filter(|parameter| parameter.fan_in > 0) {
                let (variance, kurtosis, bound) = distribution(flavor, parameter);
                let values = &parameters[parameter.range.clone()];
                let count = values.len() as f64;
                let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
                let found = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
                let largest = values.iter().fold(0f32, |largest, x| largest.max(x.abs()));
                assert!(f64::from(largest) <= bound * (1.0 + 1e-7), "{}", parameter.name);
                // Five standard deviations of the mean and of the variance.
                let deviations = 5.0 / count.sqrt();
                assert!(mean.abs() < deviations * variance.sqrt(), "{} mean {mean}", parameter.name);
                let allowed = deviations * (kurtosis - 1.0).sqrt() * variance * (1.0 + deviations);
                assert!((found - variance).abs() < allowed, "{} variance {found}", parameter.name);
            }
        }
    }

    #[test]
    fn batch_norms_start_as_the_identity() {
        let params = params(&basic(64, false, 1));
        let (parameters, running) = initialise(&params, 0).unwrap();
        assert_eq!(running.len(), params.running_len());
        for parameter in params.in_order() {
            let expected = match parameter.role {
                Role::NormWeight | Role::RunningVar => 1.0,
                Role::NormBias | Role::RunningMean => 0.0,
                Role::Weight | Role::Bias => continue,
            };
            assert!(parameter.values(&parameters, &running).iter().all(|&x| x == expected), "{}", parameter.name);
        }
    }

    #[test]
    fn a_draw_depends_on_seed_and_name_alone() {
        let block = || basic(64, false, 1);
        let children = vec![Child::new("other", block()), Child::new("", block())];
        let (alone, longer) = (params(&block()), params(&Layer::sequential(children)));
        let draw = |params: &Params, seed| {
            let (parameters, _) = initialise(params, seed).unwrap();
            let find = |parameter: &&Parameter| parameter.name == "conv2.weight";
            parameters[params.parameters.iter().find(find).unwrap().range.clone()].to_vec()
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
            init: Init::Zeros,
        };
        let error = initialise(&params(&root), 0).unwrap_err();
        assert_eq!(error.code, Code::OutOfMemory);
    }
}
