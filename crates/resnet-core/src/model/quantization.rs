//! What a quantised network knows beside its weights: what the inputs of its convolutions lie between.

use super::params::{Parameter, Params, Role};
use crate::error::{named, Code, Error, Result};
use resnet_ops::allocate;
use resnet_ops::conv2d::{quantize_row, InputRange};
use std::collections::BTreeMap;

/// The ranges by the names of the convolutions' weights, as a file keeps them.
pub type InputRanges = BTreeMap<String, [f32; 2]>;

/// The ranges of a network's inputs, by the names of weights.
pub fn input_ranges(params: &Params) -> InputRanges {
    let range = |name: &String, start: usize| {
        let node = params.nodes.iter().find(|node| node.params.start == start && node.input.is_some())?;
        node.input.map(|InputRange { low, high }| (name.clone(), [low, high]))
    };
    let weights = params.parameters.iter().filter(|parameter| parameter.role == Role::Weight);
    weights.filter_map(|weight| range(&weight.name, weight.range.start)).collect()
}

/// Takes ranges that a file tells.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if there is no such convolution, or a range is none.
pub fn set_input_ranges(params: &mut Params, ranges: &InputRanges) -> Result<()> {
    for (name, &[low, high]) in ranges {
        let weight = params.parameters.iter().find(|parameter| parameter.name == *name && is_of_convolution(parameter));
        let start = weight.map(|weight| weight.range.start);
        let Some(node) =
            params.nodes.iter_mut().find(|node| Some(node.params.start) == start && !node.params.is_empty())
        else {
            return Err(Error::expected(Code::InvalidArgument, "quantization", "names of convolutions' weights", name));
        };
        node.input = Some(InputRange { low, high });
    }
    check_ranges(params)
}

fn is_of_convolution(parameter: &Parameter) -> bool {
    parameter.role == Role::Weight && parameter.shape.len() == 4
}

/// Refuses ranges that are none.
///
/// # Errors
/// `ERR_NON_FINITE_LOSS` if an end is not finite, `ERR_INVALID_ARGUMENT` if they are the wrong way round.
pub fn check_ranges(params: &Params) -> Result<()> {
    for InputRange { low, high } in params.nodes.iter().filter_map(|node| node.input) {
        let wrong = [low, high].into_iter().find(|end| !end.is_finite());
        if let Some(wrong) = wrong {
            let got = named(wrong.into());
            return Err(Error::expected(Code::NonFiniteLoss, "a convolution's input", "finite numbers", got));
        }
        if low > high {
            let got = format!("{low} to {high}");
            return Err(Error::expected(Code::InvalidArgument, "quantization", "a range", got));
        }
    }
    Ok(())
}

/// Rounds weights of convolutions whose inputs have ranges to what bytes stand for.
///
/// # Errors
/// `ERR_OUT_OF_MEMORY`.
pub fn round_weights(params: &Params, parameters: &mut [f32]) -> Result<()> {
    for parameter in params.parameters.iter().filter(|parameter| params.is_quantized(parameter)) {
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
