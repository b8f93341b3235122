//! Descriptions of networks and blocks, as JSON that TypeScript puts together.

use crate::error::raise;
use napi_derive::napi;
use resnet_core::model::block::residual;
use resnet_core::model::resnet::{resnet, ResNetOptions, Stage};
use resnet_core::model::Layer;
use resnet_core::{Code, Error};

/// The layer tree of a residual network with the given stages of `[blocks, channels]`.
#[napi]
pub fn describe_resnet(arch: Vec<(u32, u32)>, num_classes: u32) -> napi::Result<String> {
    let stage = |(num_residuals, num_channels): (u32, u32)| Stage {
        num_residuals: num_residuals as usize,
        num_channels: num_channels as usize,
    };
    let arch = arch.into_iter().map(stage).collect();
    let network = resnet(&ResNetOptions { arch, num_classes: num_classes as usize }).map_err(raise)?;
    to_json(&network.root)
}

/// The layer tree of a residual block.
#[napi]
pub fn describe_residual(num_channels: u32, use_1x1_conv: bool, strides: u32) -> napi::Result<String> {
    to_json(&residual(num_channels as usize, use_1x1_conv, strides as usize).map_err(raise)?)
}

fn to_json(layer: &Layer) -> napi::Result<String> {
    serde_json::to_string(layer).map_err(|error| raise(Error::new(Code::Internal, error.to_string())))
}
