//! Records of TensorBoard's event files.

use crate::error::raise;
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use resnet_core::export::tensor_board::{record, Value, What};
use resnet_core::tensor::copy_of;
use resnet_core::{Code, Error, Result};

/// What a tag has at a step: one of the three.
#[napi(object)]
pub struct NativeSummary {
    pub tag: String,
    pub scalar: Option<f64>,
    pub picture: Option<Uint8Array>,
    pub text: Option<String>,
}

/// The record that an event file begins with.
#[napi]
pub fn event_file_start(seconds: f64) -> napi::Result<Uint8Array> {
    event(seconds, 0, What::Begin)
}

/// The record that has TensorBoard forget what was told of this step and later ones.
#[napi]
pub fn event_file_restart(seconds: f64, step: i64) -> napi::Result<Uint8Array> {
    event(seconds, step, What::GoOn)
}

/// The record of what some tags have at a step.
#[napi]
pub fn event_file_values(seconds: f64, step: i64, values: Vec<NativeSummary>) -> napi::Result<Uint8Array> {
    let values = values.into_iter().map(value).collect::<Result<_>>().map_err(raise)?;
    event(seconds, step, What::Values(values))
}

fn event(seconds: f64, step: i64, what: What) -> napi::Result<Uint8Array> {
    record(seconds, step, what).map(Uint8Array::from).map_err(raise)
}

fn value(NativeSummary { tag, scalar, picture, text }: NativeSummary) -> Result<(String, Value)> {
    let value = match (scalar, picture, text) {
        (Some(scalar), None, None) => Value::Scalar(scalar as f32),
        (None, Some(png), None) => Value::Picture(copy_of(&png)?),
        (None, None, Some(text)) => Value::Text(text),
        _ => return Err(Error::expected(Code::InvalidArgument, &tag, "a scalar, a picture or a text", "others")),
    };
    Ok((tag, value))
}
