//! JavaScript's plain values as the core's settings. TypeScript fills defaults in and checks types and ranges.

use napi::bindgen_prelude::Float32Array;
use napi_derive::napi;
use resnet_core::classify::{Calibration, Prediction};
use resnet_core::device::{Compute, Device, Precision};
use resnet_core::export::onnx::{Exported, Port};
use resnet_core::model::summary::Row;
use resnet_core::session::{LoadOptions, LoadReport, NewHead, SessionOptions, Tensor};
use resnet_core::train::{Curve, Metrics};
use resnet_core::{ClassReport, Code, Error, HeatMaps, Quantized, Report, Result};

/// See [`SessionOptions`].
#[napi(object)]
pub struct ModelOptions {
    pub seed: i64,
    pub in_channels: Option<u32>,
    pub compute: ComputeOptions,
}

/// See [`Compute`].
#[napi(object)]
pub struct ComputeOptions {
    pub device: Option<String>,
    pub threads: Option<u32>,
    pub strict: Option<bool>,
    pub precision: Option<String>,
    pub deterministic: Option<bool>,
}

/// Values with their shape.
#[napi(object)]
pub struct NativeTensor {
    pub data: Float32Array,
    pub shape: Vec<u32>,
}

/// See [`HeatMaps`].
#[napi(object)]
pub struct NativeHeatMaps {
    pub classes: Vec<u32>,
    pub heat: NativeTensor,
}

/// A tensor with its state-dict name.
#[napi(object)]
pub struct NamedTensor {
    pub name: String,
    pub tensor: NativeTensor,
}

/// See [`Metrics`].
#[napi(object)]
pub struct NativeMetrics {
    pub loss: f64,
    pub accuracy: f64,
}

/// Metrics with what else was asked for: see [`Report`].
#[napi(object)]
pub struct NativeEvaluation {
    pub loss: f64,
    pub accuracy: f64,
    pub top_k_accuracy: Option<f64>,
    pub macro_f1: Option<f64>,
    pub micro_f1: Option<f64>,
    pub exact_match: Option<f64>,
    pub classes: Option<Vec<NativeClassReport>>,
    pub confusion: Option<Vec<Vec<u32>>>,
}

/// See [`ClassReport`].
#[napi(object)]
pub struct NativeClassReport {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub support: u32,
}

/// See [`Prediction`].
#[napi(object)]
pub struct NativePrediction {
    pub class: u32,
    pub probability: f64,
}

/// See [`Calibration`].
#[napi(object)]
pub struct NativeCalibration {
    pub temperature: f64,
    pub loss_before: f64,
    pub loss_after: f64,
}

/// See [`Quantized`].
#[napi(object)]
pub struct NativeQuantized {
    pub convolutions: f64,
    pub images: f64,
}

/// See [`Curve`].
#[napi(object)]
pub struct NativeCurve {
    pub lrs: Vec<f64>,
    pub losses: Vec<f64>,
    pub suggestion: Option<f64>,
}

/// See [`NewHead`].
#[napi(object)]
pub struct NativeHead {
    pub num_classes: u32,
    pub seed: Option<i64>,
}

/// See [`LoadOptions`].
#[napi(object)]
pub struct NativeLoadOptions {
    pub strict: bool,
    pub new_head: bool,
    pub adapt_input: bool,
    pub rename: Vec<(String, String)>,
}

/// See [`LoadReport`].
#[napi(object)]
pub struct NativeLoadReport {
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
    pub kept: Vec<String>,
}

/// See [`Exported`].
#[napi(object)]
pub struct NativeExported {
    pub input: NativePort,
    pub output: NativePort,
    pub bytes: f64,
}

/// See [`Port`]; a batch of any size is -1.
#[napi(object)]
pub struct NativePort {
    pub name: String,
    pub element: String,
    pub shape: Vec<f64>,
}

/// See [`Row`].
#[napi(object)]
pub struct NativeRow {
    pub name: String,
    pub kind: String,
    pub output_shape: Vec<u32>,
    pub params: f64,
    pub macs: f64,
    pub activation_bytes: f64,
}

impl TryFrom<ModelOptions> for SessionOptions {
    type Error = Error;

    fn try_from(options: ModelOptions) -> Result<Self> {
        Ok(Self {
            seed: options.seed as u64,
            in_channels: options.in_channels.map(|channels| channels as usize),
            compute: options.compute.try_into()?,
        })
    }
}

impl TryFrom<ComputeOptions> for Compute {
    type Error = Error;

    fn try_from(options: ComputeOptions) -> Result<Self> {
        let precision = match options.precision.as_deref() {
            None => Precision::default(),
            Some("tf32") => Precision::Tf32,
            Some("fp32") => Precision::Fp32,
            Some("bf16") => Precision::Bf16,
            Some(other) => {
                return Err(Error::expected(Code::InvalidArgument, "precision", "tf32, fp32 or bf16", other));
            }
        };
        Ok(Self {
            device: options.device.map_or(Ok(Device::Auto), |device| device.parse())?,
            threads: options.threads.map(|threads| threads as usize),
            direct_convolutions: options.strict.unwrap_or(false),
            precision,
            deterministic: options.deterministic.unwrap_or(false),
        })
    }
}

impl From<Tensor> for NativeTensor {
    fn from(tensor: Tensor) -> Self {
        Self { shape: sizes_to_js(&tensor.shape), data: tensor.data.into() }
    }
}

/// Tensors by name, on their way to JavaScript.
pub struct NamedTensors(pub Vec<(String, Tensor)>);

impl From<NamedTensors> for Vec<NamedTensor> {
    fn from(tensors: NamedTensors) -> Self {
        let named = |(name, tensor): (String, Tensor)| NamedTensor { name, tensor: tensor.into() };
        tensors.0.into_iter().map(named).collect()
    }
}

impl From<Row> for NativeRow {
    fn from(row: Row) -> Self {
        Self {
            name: row.name,
            kind: row.kind.to_owned(),
            output_shape: sizes_to_js(&row.output_shape),
            params: row.params as f64,
            macs: row.macs as f64,
            activation_bytes: row.activation_bytes as f64,
        }
    }
}

/// The predictions of some images, on their way to JavaScript.
pub struct Classified(pub Vec<Vec<Prediction>>);

impl From<Classified> for Vec<Vec<NativePrediction>> {
    fn from(images: Classified) -> Self {
        let predicted =
            |Prediction { class, probability }: Prediction| NativePrediction { class: class as u32, probability };
        images.0.into_iter().map(|predictions| predictions.into_iter().map(predicted).collect()).collect()
    }
}

impl From<HeatMaps> for NativeHeatMaps {
    fn from(HeatMaps { classes, heat }: HeatMaps) -> Self {
        Self { classes, heat: heat.into() }
    }
}

impl From<Calibration> for NativeCalibration {
    fn from(Calibration { temperature, loss_before, loss_after }: Calibration) -> Self {
        Self { temperature, loss_before, loss_after }
    }
}

impl From<Quantized> for NativeQuantized {
    fn from(Quantized { convolutions, images }: Quantized) -> Self {
        Self { convolutions: convolutions as f64, images: images as f64 }
    }
}

impl From<Metrics> for NativeMetrics {
    fn from(metrics: Metrics) -> Self {
        Self { loss: metrics.loss(), accuracy: metrics.accuracy() }
    }
}

impl From<(Metrics, Report)> for NativeEvaluation {
    fn from((metrics, report): (Metrics, Report)) -> Self {
        let Report { top_k_accuracy, classes, confusion, macro_f1, micro_f1, exact_match } = report;
        let class = |ClassReport { precision, recall, f1, support }: ClassReport| NativeClassReport {
            precision,
            recall,
            f1,
            support: support as u32,
        };
        let classes = classes.map(|classes| classes.into_iter().map(class).collect());
        let (loss, accuracy) = (metrics.loss(), metrics.accuracy());
        Self { loss, accuracy, top_k_accuracy, macro_f1, micro_f1, exact_match, classes, confusion }
    }
}

impl From<Curve> for NativeCurve {
    fn from(Curve { lrs, losses, suggestion }: Curve) -> Self {
        Self { lrs, losses, suggestion }
    }
}

impl From<NativeLoadOptions> for LoadOptions {
    fn from(NativeLoadOptions { strict, new_head, adapt_input, rename }: NativeLoadOptions) -> Self {
        Self { strict, new_head, adapt_input, rename: rename.into_iter().collect() }
    }
}

impl From<NativeHead> for NewHead {
    fn from(NativeHead { num_classes, seed }: NativeHead) -> Self {
        Self { num_classes: num_classes as usize, seed: seed.map(|seed| seed as u64) }
    }
}

impl From<LoadReport> for NativeLoadReport {
    fn from(LoadReport { missing, unexpected, kept }: LoadReport) -> Self {
        Self { missing, unexpected, kept }
    }
}

impl From<Exported> for NativeExported {
    fn from(Exported { input, output, bytes }: Exported) -> Self {
        let port = |Port { name, element, shape }: Port| NativePort {
            name,
            element: element.to_owned(),
            shape: shape.into_iter().map(|size| size.map_or(-1.0, |size| size as f64)).collect(),
        };
        Self { input: port(input), output: port(output), bytes: bytes as f64 }
    }
}

/// Sizes are below 2³²: what they count was allocated.
pub fn sizes_to_js(sizes: &[usize]) -> Vec<u32> {
    sizes.iter().map(|&size| size as u32).collect()
}

/// The sizes of images. `ERR_SHAPE` if there are not four.
pub fn image_shape(parameter: &str, shape: &[u32]) -> Result<[usize; 4]> {
    let sizes: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
    let wrong = |_| Error::expected(Code::Shape, parameter, "a shape (N, C, H, W)", format!("{shape:?}"));
    sizes.try_into().map_err(wrong)
}
