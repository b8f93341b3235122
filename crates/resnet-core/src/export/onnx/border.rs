//! What stands before a network's first layer, from pictures to what it takes, and behind its last, to probabilities.

use super::graph::{int, ints, Graph, Operand, Site, Type};
use super::initializer::Numbers;
use super::proto::{AttributeProto, Element};
use super::{Input, OnnxOptions, Precision};
use crate::data::{LabelKind, Normalise, PictureTransform};
use crate::error::{Code, Error, Result};
use crate::interface::Interface;

/// Pillow's weights of red, green and blue in grey, and what half of their sum is; every sum of products is a whole number below 2²⁴, which f32
/// has exactly.
const GREY: ([f32; 3], f32) = ([19_595.0, 38_470.0, 7_471.0], 32_768.0);

/// The type of the graph's input for a network that takes (C, H, W).
pub fn input_type(input: Input, [channels, height, width]: [usize; 3]) -> Type {
    match input {
        Input::Normalised | Input::Unit => Type { element: Element::F32, sizes: vec![channels, height, width] },
        Input::Bytes => Type { element: Element::U8, sizes: vec![height, width, channels] },
        Input::Rgba => Type { element: Element::U8, sizes: vec![height, width, 4] },
    }
}

/// Refuses an input that cannot be brought to what the network takes.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT`.
pub fn check_input(input: Input, channels: usize, transform: Option<&PictureTransform>) -> Result<()> {
    if input != Input::Normalised && transform.is_none() {
        let expected = "normalised for a model that does not know what pictures it takes (setInterface tells it)";
        return Err(Error::expected(Code::InvalidArgument, "input", expected, input.word()));
    }
    if input == Input::Rgba && ![1, 3].contains(&channels) {
        let expected = format!("another input for images of {channels} channels");
        return Err(Error::expected(Code::InvalidArgument, "input", expected, input.word()));
    }
    Ok(())
}

/// Adds what brings the graph's input to what the network takes.
pub fn add_input(
    graph: &mut Graph,
    input: Input,
    [channels, height, width]: [usize; 3],
    transform: Option<&PictureTransform>,
) -> Operand {
    let (mut x, normalise) = (Operand::Value(0), transform.and_then(|transform| transform.normalise.as_ref()));
    let planes = [channels, height, width];
    if input == Input::Bytes || input == Input::Rgba {
        let given = input_type(input, planes).sizes;
        x = step(graph, "to_float", "Cast", vec![x], &given, to(Element::F32));
        if input == Input::Rgba {
            x = colours(graph, x, planes);
        }
        x = step(graph, "channels_first", "Transpose", vec![x], &planes, vec![ints("perm", [0, 3, 1, 2])]);
        x = with(graph, "to_unit", "Div", x, &planes, ("white", &[], vec![255.0]));
    }
    if let (Some(Normalise { mean, std }), true) = (normalise, input != Input::Normalised) {
        let numbers = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        x = with(graph, "minus_mean", "Sub", x, &planes, ("mean", &[channels, 1, 1], numbers(mean)));
        x = with(graph, "over_std", "Div", x, &planes, ("std", &[channels, 1, 1], numbers(std)));
    }
    match graph.precision {
        Precision::Fp32 => x,
        Precision::Fp16 => {
            let r#type = Type { element: Element::F16, sizes: planes.to_vec() };
            let name = "preprocess.to_float16";
            graph.push(Site { node: name, value: name, r#type }, "Cast", vec![x], to(Element::F16))
        }
    }
}

/// Adds what makes the graph's output, f32, of what the network returns.
///
/// # Errors
/// `ERR_SHAPE` if probabilities are asked for and there are no logits.
pub fn add_output(
    graph: &mut Graph,
    mut x: Operand,
    sizes: &[usize],
    options: &OnnxOptions,
    interface: &Interface,
) -> Result<Operand> {
    let add = |graph: &mut Graph, word: &str, op, inputs, attributes| {
        let name = format!("postprocess.{word}");
        let r#type = Type { element: Element::F32, sizes: sizes.to_vec() };
        graph.push(Site { node: &name, value: &name, r#type }, op, inputs, attributes)
    };
    if graph.precision == Precision::Fp16 {
        x = add(graph, "to_float", "Cast", vec![x], to(Element::F32));
    }
    if options.probabilities {
        if sizes.len() != 1 {
            let given = format!("an output of {} sizes for each image", sizes.len());
            return Err(Error::expected(
                Code::Shape,
                "probabilities",
                "a network that returns logits (N, classes)",
                given,
            ));
        }
        if interface.temperature != 1.0 {
            let temperature = Numbers::Plain(vec![interface.temperature as f32].into());
            let temperature = graph.constant("postprocess.temperature", Vec::new(), temperature, Precision::Fp32);
            x = add(graph, "over_temperature", "Div", vec![x, temperature], Vec::new());
        }
        let (word, op, attributes) = match interface.label_kind {
            Some(LabelKind::Multi) => ("sigmoid", "Sigmoid", Vec::new()),
            Some(LabelKind::Single) | None => ("softmax", "Softmax", vec![int("axis", 1)]),
        };
        x = add(graph, word, op, vec![x], attributes);
    }
    // A network that does nothing has no node that could write to the output.
    if x == Operand::Value(0) {
        x = add(graph, "identity", "Identity", vec![x], Vec::new());
    }
    Ok(x)
}

/// Red, green and blue of pixels (N, H, W, 4) that have an alpha too, or their grey.
fn colours(graph: &mut Graph, mut x: Operand, [channels, height, width]: [usize; 3]) -> Operand {
    let mut inputs = vec![x];
    for (word, number) in [("starts", 0), ("ends", 3), ("axes", 3)] {
        inputs.push(graph.whole(&format!("preprocess.{word}"), vec![number]));
    }
    x = step(graph, "without_alpha", "Slice", inputs, &[height, width, 3], Vec::new());
    if channels == 3 {
        return x;
    }
    let sizes = [height, width, 1];
    x = with(graph, "grey_times_65536", "MatMul", x, &sizes, ("grey", &[3, 1], GREY.0.to_vec()));
    x = with(graph, "plus_half", "Add", x, &sizes, ("half", &[], vec![GREY.1]));
    x = with(graph, "over_65536", "Div", x, &sizes, ("whole", &[], vec![2.0 * GREY.1]));
    step(graph, "grey", "Floor", vec![x], &sizes, Vec::new())
}

/// Adds a step with a constant.
fn with(
    graph: &mut Graph,
    word: &str,
    op: &'static str,
    x: Operand,
    sizes: &[usize],
    (name, dims, values): (&str, &[usize], Vec<f32>),
) -> Operand {
    let name = format!("preprocess.{name}");
    let constant = graph.constant(&name, dims.to_vec(), Numbers::Plain(values.into()), Precision::Fp32);
    step(graph, word, op, vec![x, constant], sizes, Vec::new())
}

/// Adds a step before the network, which gives f32.
fn step(
    graph: &mut Graph,
    word: &str,
    op: &'static str,
    inputs: Vec<Operand>,
    sizes: &[usize],
    attributes: Vec<AttributeProto>,
) -> Operand {
    let name = format!("preprocess.{word}");
    let r#type = Type { element: Element::F32, sizes: sizes.to_vec() };
    graph.push(Site { node: &name, value: &name, r#type }, op, inputs, attributes)
}

/// The attribute of a cast.
fn to(element: Element) -> Vec<AttributeProto> {
    vec![int("to", element as i64)]
}
