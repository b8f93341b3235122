//! A convolution as cuDNN is told of it.

use super::descriptor::Descriptor;
use crate::algorithm::Pass;
use crate::cuda::device::Geometry;
use crate::precision::Precision;
use candle_core::Result;
use cudarc::cudnn::sys::cudnnBackendDescriptorType_t as Kind;
use cudarc::cudnn::sys::{self, cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type};

/// What addresses are multiples of.
const ALIGNMENT: i64 = 16;

/// What the three tensors of an operation are called: a, b and target.
pub const IDS: [i64; 3] = [1, 2, 3];

/// The convolution itself.
pub fn operation(geometry: &Geometry, pass: Pass) -> Result<Descriptor> {
    let [x, weights, y] = tensors(geometry, pass)?;
    let convolution = convolution(geometry)?;
    let (kind, names) = match pass {
        Pass::Forward => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            ],
        ),
        Pass::InputGradient => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            ],
        ),
        Pass::WeightGradient => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            ],
        ),
    };
    let [convolution_name, x_name, weights_name, y_name, alpha, beta] = names;
    Descriptor::new(kind)?
        .set_descriptor(convolution_name, &convolution)?
        .set_descriptor(x_name, &x)?
        .set_descriptor(weights_name, &weights)?
        .set_descriptor(y_name, &y)?
        .set(alpha, Type::CUDNN_TYPE_FLOAT, &[1f32])?
        .set(beta, Type::CUDNN_TYPE_FLOAT, &[if geometry.accumulate { 1f32 } else { 0.0 }])?
        .finalize("operation")
}

fn convolution(geometry: &Geometry) -> Result<Descriptor> {
    let sizes = |values: [usize; 2]| values.map(|value| value as i64);
    let (padding, strides) = (sizes(geometry.padding), sizes(geometry.stride));
    let float = [sys::cudnnDataType_t::CUDNN_DATA_FLOAT];
    let mode = [sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION];
    Descriptor::new(Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &float)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE, Type::CUDNN_TYPE_CONVOLUTION_MODE, &mode)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, Type::CUDNN_TYPE_INT64, &[2i64])?
        .set(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, Type::CUDNN_TYPE_INT64, &[1i64, 1])?
        .set(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, Type::CUDNN_TYPE_INT64, &strides)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, Type::CUDNN_TYPE_INT64, &padding)?
        .set(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, Type::CUDNN_TYPE_INT64, &padding)?
        .finalize("convolution")
}

/// x, weights and y or their gradients. cuDNN names sizes in the order N, C, H, W, and strides say how they lie.
fn tensors(geometry: &Geometry, pass: Pass) -> Result<[Descriptor; 3]> {
    let Geometry { n, in_channels, out_channels, input, output, kernel, groups, pixel, precision, .. } = geometry;
    let ids = match pass {
        Pass::Forward => [IDS[0], IDS[1], IDS[2]],
        Pass::InputGradient => [IDS[2], IDS[1], IDS[0]],
        Pass::WeightGradient => [IDS[0], IDS[2], IDS[1]],
    };
    let element = match precision {
        Precision::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        Precision::Tf32 | Precision::Fp32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
    };
    let tensor = |id: i64, [n, c, h, w]: [usize; 4], pixel: usize| {
        let strides = [h * w * pixel, 1, w * pixel, pixel].map(|stride| stride as i64);
        Descriptor::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
            .set(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, Type::CUDNN_TYPE_INT64, &[id])?
            .set(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &[element])?
            .set(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, Type::CUDNN_TYPE_INT64, &[ALIGNMENT])?
            .set(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, Type::CUDNN_TYPE_INT64, &[n, c, h, w].map(|size| size as i64))?
            .set(Name::CUDNN_ATTR_TENSOR_STRIDES, Type::CUDNN_TYPE_INT64, &strides)?
            .finalize("tensor")
    };
    let per_group = in_channels / groups;
    Ok([
        tensor(ids[0], [*n, *in_channels, input[0], input[1]], pixel[0])?,
        tensor(ids[1], [*out_channels, per_group, kernel[0], kernel[1]], per_group)?,
        tensor(ids[2], [*n, *out_channels, output[0], output[1]], pixel[1])?,
    ])
}
