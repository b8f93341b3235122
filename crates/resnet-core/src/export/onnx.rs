//! ONNX files (<https://onnx.ai>): a trained network as a graph of standard operators, which other programs run.
//!
//! The walk over the network's graph gives a graph of ONNX's nodes (`layers`, with norms folded by `fold`); `border` puts before it
//! what turns pictures into what the network takes, and behind it what turns logits into probabilities. `file` writes it.

mod border;
mod file;
mod fold;
mod graph;
mod initializer;
mod layers;
mod metadata;
mod proto;

pub use graph::Port;

use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::interface::Interface;
use crate::model::graph::trace;
use crate::model::params::Params;
use crate::model::shape::Shape;
use crate::model::Layer;
use graph::Graph;
use layers::Weighted;
use proto::Element;
use serde::Deserialize;
use std::path::Path;

/// Largest size of a shape: what all that read a file can count.
const MAX_SIZE: usize = i32::MAX as usize;

/// How a network is exported.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxOptions {
    /// (C, H, W), or (N, C, H, W); by default that of the pictures that the model takes.
    #[serde(default)]
    pub shape: Option<Vec<usize>>,
    /// Whether a batch has any number of images; else it has the shape's, or one.
    pub dynamic_batch: bool,
    /// Whether batch norms go into the convolutions before them.
    pub fold_norms: bool,
    /// What goes in.
    pub input: Input,
    /// Whether probabilities come out: the softmax of logits over the temperature, or where a picture may be of any number of classes their
    /// sigmoids. Else logits.
    pub probabilities: bool,
    /// How weights are kept and layers compute.
    pub precision: Precision,
}

/// What goes into an exported network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// What the network takes: f32 (N, C, H, W), normalised as in training.
    Normalised,
    /// f32 (N, C, H, W) from 0 to 1.
    Unit,
    /// Bytes (N, H, W, C).
    Bytes,
    /// Bytes (N, H, W, 4): red, green, blue and an alpha that does not count.
    Rgba,
}

/// How an exported network keeps its weights and computes; inputs and outputs are f32, or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// In f32.
    Fp32,
    /// In f16.
    Fp16,
}

/// A model to be exported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// The network.
    pub network: &'a Layer,
    /// Channels of its input.
    pub in_channels: usize,
    /// Names and shapes of its parameters.
    pub params: &'a Params,
    /// As many as their `parameters_len`.
    pub parameters: &'a [f32],
    /// As many as their `running_len`.
    pub running: &'a [f32],
    /// What pictures it takes and what its outputs mean.
    pub interface: &'a Interface,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// What goes in.
    pub input: Port,
    /// What comes out.
    pub output: Port,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes a model to an ONNX file, which is there as a whole or not at all. The same model is the same bytes.
///
/// # Errors
/// `ERR_SHAPE` if the shape does not fit the network; `ERR_INVALID_ARGUMENT` if an option cannot be, or the file would be too large;
/// `ERR_NON_FINITE_WEIGHTS` if a weight is beyond what the precision holds; `ERR_IO`; `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
pub(crate) fn write(path: &Path, source: &Source, options: &OnnxOptions, cancel: &Cancel) -> Result<Exported> {
    let (batch, planes) = shape(source, options)?;
    let [channels, height, width] = planes;
    let Source { network, params, parameters, running, interface, .. } = *source;
    let transform = interface.transform.as_ref();
    border::check_input(options.input, channels, transform)?;
    let trace = trace(network, Shape::map(channels, height, width))?;
    let returned = trace.shapes[trace.output].with_batch(1).split_off(1);
    let name = match (options.probabilities, returned.len()) {
        (true, _) => "probabilities",
        (false, 1) => "logits",
        (false, _) => "output",
    };
    let names = params.in_order().into_iter().map(|parameter| parameter.name.clone());
    let reserved = names.chain([name.to_owned()]);
    let input = ("images", border::input_type(options.input, planes));
    let mut graph = Graph::new(options.precision, batch, input, reserved);
    let x = border::add_input(&mut graph, options.input, planes, transform);
    let weighted = Weighted { trace: &trace, params, parameters, running };
    let x = layers::add(&mut graph, &weighted, options.fold_norms, x)?;
    let output = border::add_output(&mut graph, x, &returned, options, interface)?;
    graph.rename(output, name);
    let entries = metadata::entries(options, interface, planes, name);
    let bytes = file::write(path, &graph, output, entries, cancel)?;
    Ok(Exported { input: graph.port(graph::Operand::Value(0)), output: graph.port(output), bytes })
}

/// The number of images, if it is fixed, and what each is: (C, H, W).
fn shape(source: &Source, options: &OnnxOptions) -> Result<(Option<usize>, [usize; 3])> {
    let known = source.interface.transform.as_ref().map(|transform| transform.output().to_vec());
    let Some(shape) = options.shape.clone().or(known) else {
        let expected = "[N, C, H, W] for a model that does not know what pictures it takes";
        return Err(Error::expected(Code::InvalidArgument, "shape", expected, "none"));
    };
    let (n, planes) = match shape[..] {
        [n, c, h, w] => (n, [c, h, w]),
        [c, h, w] => (1, [c, h, w]),
        _ => return Err(Error::expected(Code::Shape, "shape", "[N, C, H, W] or [C, H, W]", format!("{shape:?}"))),
    };
    if shape.iter().any(|size| !(1..=MAX_SIZE).contains(size)) {
        let expected = format!("sizes from 1 to {MAX_SIZE}");
        return Err(Error::expected(Code::Shape, "shape", expected, format!("{shape:?}")));
    }
    let fixed = if options.dynamic_batch { 1 } else { n };
    if planes.iter().chain([&fixed]).fold(1u128, |all, &size| all * size as u128) > MAX_SIZE as u128 {
        let expected = format!("at most {MAX_SIZE} numbers in all");
        return Err(Error::expected(Code::Shape, "shape", expected, format!("{shape:?}")));
    }
    if planes[0] != source.in_channels {
        let expected = format!("{} channels", source.in_channels);
        return Err(Error::expected(Code::Shape, "shape", expected, planes[0]));
    }
    Ok(((!options.dynamic_batch).then_some(n), planes))
}

impl Default for OnnxOptions {
    fn default() -> Self {
        Self {
            shape: None,
            dynamic_batch: true,
            fold_norms: true,
            input: Input::Normalised,
            probabilities: false,
            precision: Precision::Fp32,
        }
    }
}

impl OnnxOptions {
    /// The options of a description such as
    /// `{"shape":[3,224,224],"dynamic_batch":true,"fold_norms":true,"input":"bytes","probabilities":true,"precision":"fp32"}`.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it is none.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::new(Code::InvalidArgument, format!("options: {error}")))
    }
}

impl Input {
    /// Its word in options and in a file's metadata.
    fn word(self) -> &'static str {
        match self {
            Self::Normalised => "normalised",
            Self::Unit => "unit",
            Self::Bytes => "bytes",
            Self::Rgba => "rgba",
        }
    }
}

impl Precision {
    fn element(self) -> Element {
        match self {
            Self::Fp32 => Element::F32,
            Self::Fp16 => Element::F16,
        }
    }
}

#[cfg(test)]
mod tests;
