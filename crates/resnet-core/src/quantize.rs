//! Quantisation of a network that has been trained: weights to bytes, and what the inputs of its convolutions lie between, by which those
//! become bytes too.

use crate::data::{DataPass, Dataset, Order};
use crate::error::{Code, Error, Result};
use crate::infer::evaluated_together;
use crate::model::quantization::check_ranges;
use crate::plan::Mode;
use crate::session::Session;
use crate::weights::check_finite;
use resnet_ops::conv2d::{ConvShape, InputRange};
use std::collections::BTreeMap;

/// What [`Session::quantize`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantized {
    /// Convolutions whose weights were rounded, and whose inputs were measured.
    pub convolutions: usize,
    /// Images by which their inputs were measured.
    pub images: usize,
}

impl Session {
    /// Quantises the network: of each convolution without groups, but one that reads images of up to four channels, weights are rounded to
    /// 255 steps for each output, and what its input lies between is measured on up to `images` of a data set, drawn at random. From
    /// then on inference multiplies bytes where the processor is faster at that; training is over. If it fails, all is as it was.
    ///
    /// # Errors
    /// `ERR_SHAPE` if the data do not fit the network; `ERR_INVALID_ARGUMENT` if it is quantised, or has no such convolution;
    /// `ERR_NON_FINITE_WEIGHTS`, `ERR_NON_FINITE_LOSS` if weights or an input are not finite; `ERR_DATA_CORRUPT` if no sample can be read;
    /// `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
    pub fn quantize(&mut self, data: &Dataset, images: usize) -> Result<Quantized> {
        self.check_not_quantized("model")?;
        if images == 0 {
            return Err(Error::expected(Code::InvalidArgument, "images", "at least 1", 0));
        }
        // A NaN would become the byte 0.
        if let Some(params) = self.params() {
            check_finite(params, &self.weights()?.values()?)?;
        }
        let [_, height, width] = data.image_shape();
        let batch_size = evaluated_together(height, width);
        let resident = self.resident(data)?;
        let pass = DataPass::new(data, batch_size, Order::Shuffled { seed: 0, epoch: 0 }, false)?;
        let pass = pass.cancelled_by(self.cancel()).limited_to(images.div_ceil(batch_size));
        let (mut loader, mut ranges, mut seen) = (resident.loader_of(pass, None)?, BTreeMap::new(), 0);
        while let Some(batch) = loader.next() {
            let batch = batch?;
            let count = batch.shape[0].min(images - seen);
            let mut execution = self.prepare(batch.shape, &Mode::EVAL)?;
            execution.forward_observed(
                resident.input(batch).part(0..count),
                &mut |shape: &ConvShape, place, values| {
                    if is_quantizable(shape) {
                        let range = ranges.entry(place.start).or_insert(InputRange { low: 0.0, high: 0.0 });
                        widen(range, values);
                    }
                },
            )?;
            seen += count;
        }
        if seen == 0 {
            return Err(Error::expected(Code::DataCorrupt, "data", "at least one sample that can be read", "none"));
        }
        if ranges.is_empty() {
            let expected = "a network with a convolution in one group, beside one that reads the images";
            return Err(Error::expected(Code::InvalidArgument, "model", expected, "none"));
        }
        self.quantize_weights(|params| {
            for weight in params.parameters.iter_mut().filter(|parameter| parameter.is_of_convolution()) {
                weight.input = ranges.get(&weight.range.start).copied();
            }
            check_ranges(params)
        })?;
        Ok(Quantized { convolutions: ranges.len(), images: seen })
    }

    /// Whether it is quantised.
    pub fn is_quantized(&self) -> bool {
        self.params().is_some_and(|params| params.parameters.iter().any(|weight| weight.input.is_some()))
    }

    /// Refuses to change the weights of a quantised network.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`.
    pub(crate) fn check_not_quantized(&self, parameter: &str) -> Result<()> {
        if !self.is_quantized() {
            return Ok(());
        }
        let expected = "one that is not quantised: its weights are rounded, and stay as they are";
        Err(Error::expected(Code::InvalidArgument, parameter, expected, "a quantised model"))
    }
}

/// Whether inference may multiply bytes: weights of other convolutions are few.
fn is_quantizable(shape: &ConvShape) -> bool {
    shape.groups == 1 && !shape.plain_input
}

/// Takes in values; an end is not finite from then on if one of them is not.
fn widen(range: &mut InputRange, values: &[f32]) {
    const LANES: usize = 16;
    let (mut low, mut high, mut spoiled) = ([range.low; LANES], [range.high; LANES], [0f32; LANES]);
    for values in values.chunks(LANES) {
        for (lane, &value) in values.iter().enumerate() {
            low[lane] = if value < low[lane] { value } else { low[lane] };
            high[lane] = if value > high[lane] { value } else { high[lane] };
            // A NaN passes no comparison; it stays in a sum.
            spoiled[lane] += 0.0 * value;
        }
    }
    let spoiled: f32 = spoiled.iter().sum();
    range.low = low.into_iter().fold(f32::INFINITY, f32::min) + spoiled;
    range.high = high.into_iter().fold(f32::NEG_INFINITY, f32::max) + spoiled;
}
