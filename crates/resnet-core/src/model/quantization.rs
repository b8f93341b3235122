//! What a quantised network knows beside its weights: what the inputs of its convolutions lie between.

use super::params::{Parameter, Params};
use crate::error::{named, Code, Error, Result};
use resnet_ops::allocate;
use resnet_ops::conv2d::{quantize_row, InputRange};
use std::collections::{BTreeMap, BTreeSet};

/// The ranges by the names of the convolutions' weights, as a file keeps them.
pub type InputRanges = BTreeMap<String, [f32; 2]>;

/// The ranges of a network's inputs, by the names of weights.
pub fn input_ranges(params: &Params) -> InputRanges {
    let range = |weight: &Parameter| weight.input.map(|InputRange { low, high }| (weight.name.clone(), [low, high]));
    params.parameters.iter().filter_map(range).collect()
}

/// Takes ranges that a file tells.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if there is no such convolution, or a range is none.
pub fn set_input_ranges(params: &mut Params, ranges: &InputRanges) -> Result<()> {
    let mut unknown: BTreeSet<&String> = ranges.keys().collect();
    for weight in params.parameters.iter_mut().filter(|parameter| parameter.is_of_convolution()) {
        weight.input = ranges.get(&weight.name).map(|&[low, high]| InputRange { low, high });
        unknown.remove(&weight.name);
    }
    match unknown.first() {
        Some(name) => {
            Err(Error::expected(Code::InvalidArgument, "input_ranges", "names of convolutions' weights", name))
        }
        None => check_ranges(params),
    }
}

/// Refuses ranges that are none.
///
/// # Errors
/// `ERR_NON_FINITE_LOSS` if an end is not finite, `ERR_INVALID_ARGUMENT` if they are the wrong way round.
pub fn check_ranges(params: &Params) -> Result<()> {
    for InputRange { low, high } in params.parameters.iter().filter_map(|weight| weight.input) {
        let wrong = [low, high].into_iter().find(|end| !end.is_finite());
        if let Some(wrong) = wrong {
            let got = named(wrong.into());
            return Err(Error::expected(Code::NonFiniteLoss, "a convolution's input", "finite numbers", got));
        }
        if !(high - low).is_finite() || low > high {
            let got = format!("{low} to {high}");
            return Err(Error::expected(Code::InvalidArgument, "input_ranges", "a range", got));
        }
    }
    Ok(())
}

/// Rounds weights of convolutions whose inputs have ranges to what bytes stand for.
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`.
pub fn round_weights(params: &Params, parameters: &mut [f32]) -> Result<()> {
    for parameter in params.parameters.iter().filter(|parameter| parameter.input.is_some()) {
        let (weights, fan_in) = (&mut parameters[parameter.range.clone()], parameter.fan_in.max(1));
        let mut bytes = allocate::with_room(fan_in)?;
        bytes.resize(fan_in, 0i8);
        for row in weights.chunks_exact_mut(fan_in) {
            let scale = quantize_row(row, &mut bytes);
            row.iter_mut().zip(&bytes).for_each(|(weight, &byte): (_, &i8)| *weight = f32::from(byte) * scale);
        }
    }
    Ok(())
}
