//! Records of TensorBoard's event files: an `Event` of TensorFlow's `event.proto` each, framed as a TFRecord, its length and its bytes
//! with a CRC each (<https://www.tensorflow.org/tutorials/load_data/tfrecord>).

use crate::error::{Code, Error, Result};
use prost::{Message, Oneof};

/// What an event tells.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The first record of each file.
    Begin,
    /// What was told of this step and later ones counts no more: a run goes on from here.
    GoOn,
    /// Numbers, pictures or texts by their tags.
    Values(Vec<(String, Value)>),
}

/// What a tag has at a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A point of a curve.
    Scalar(f32),
    /// A PNG.
    Picture(Vec<u8>),
    /// A text, which TensorBoard takes for Markdown.
    Text(String),
}

/// The record of an event that happened so many seconds after 1970, as of a step.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if a picture is no PNG.
pub fn record(seconds: f64, step: i64, what: What) -> Result<Vec<u8>> {
    let what = match what {
        What::Begin => message::What::FileVersion("brain.Event:2".to_owned()),
        What::GoOn => message::What::SessionLog(message::SessionLog { status: 1 }),
        What::Values(values) => {
            let value = values.into_iter().map(|(tag, value)| message::value(tag, value)).collect::<Result<_>>()?;
            message::What::Summary(message::Summary { value })
        }
    };
    let event = message::Event { wall_time: seconds, step, what: Some(what) }.encode_to_vec();
    let length = (event.len() as u64).to_le_bytes();
    Ok([&length[..], &checksum(&length), &event, &checksum(&event)].concat())
}

/// CRC-32C, turned and moved so that the CRC of what holds CRCs stays a good one.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

/// Height and width of a PNG, from its first chunk.
fn size_of_png(png: &[u8]) -> Result<[i32; 2]> {
    let number =
        |at: usize| png.get(at..at + 4).map(|bytes| i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    match (png.starts_with(b"\x89PNG\r\n\x1a\n"), number(20), number(16)) {
        (true, Some(height), Some(width)) => Ok([height, width]),
        _ => Err(Error::expected(Code::InvalidArgument, "png", "the bytes of a PNG", format!("{} others", png.len()))),
    }
}

/// The parts of TensorFlow's messages that are written, by the numbers of their fields.
mod message {
    use super::{size_of_png, Message, Oneof, Result};

    #[derive(Clone, PartialEq, Message)]
    pub struct Event {
        #[prost(double, tag = "1")]
        pub wall_time: f64,
        #[prost(int64, tag = "2")]
        pub step: i64,
        #[prost(oneof = "What", tags = "3, 5, 7")]
        pub what: Option<What>,
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub enum What {
        #[prost(string, tag = "3")]
        FileVersion(String),
        #[prost(message, tag = "5")]
        Summary(Summary),
        #[prost(message, tag = "7")]
        SessionLog(SessionLog),
    }

    /// A status of 1 is a start.
    #[derive(Clone, PartialEq, Message)]
    pub struct SessionLog {
        #[prost(int32, tag = "1")]
        pub status: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Summary {
        #[prost(message, repeated, tag = "1")]
        pub value: Vec<SummaryValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct SummaryValue {
        #[prost(string, tag = "1")]
        pub tag: String,
        #[prost(message, optional, tag = "9")]
        pub metadata: Option<Metadata>,
        #[prost(oneof = "Content", tags = "2, 4, 8")]
        pub content: Option<Content>,
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub enum Content {
        #[prost(float, tag = "2")]
        Scalar(f32),
        #[prost(message, tag = "4")]
        Image(Image),
        #[prost(message, tag = "8")]
        Tensor(Tensor),
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Image {
        #[prost(int32, tag = "1")]
        pub height: i32,
        #[prost(int32, tag = "2")]
        pub width: i32,
        /// 3 for RGB; the PNG tells what it is itself.
        #[prost(int32, tag = "3")]
        pub colorspace: i32,
        #[prost(bytes = "vec", tag = "4")]
        pub encoded: Vec<u8>,
    }

    /// A type of 7 is texts.
    #[derive(Clone, PartialEq, Message)]
    pub struct Tensor {
        #[prost(int32, tag = "1")]
        pub dtype: i32,
        #[prost(message, optional, tag = "2")]
        pub shape: Option<Shape>,
        #[prost(bytes = "vec", repeated, tag = "8")]
        pub texts: Vec<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Shape {
        #[prost(message, repeated, tag = "2")]
        pub sizes: Vec<Size>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Size {
        #[prost(int64, tag = "1")]
        pub size: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Metadata {
        #[prost(message, optional, tag = "1")]
        pub plugin: Option<Plugin>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Plugin {
        #[prost(string, tag = "1")]
        pub name: String,
    }

    /// A tag's value; texts are told from other tensors by the plugin that shows them.
    pub fn value(tag: String, value: super::Value) -> Result<SummaryValue> {
        let mut metadata = None;
        let content = match value {
            super::Value::Scalar(scalar) => Content::Scalar(scalar),
            super::Value::Picture(encoded) => {
                let [height, width] = size_of_png(&encoded)?;
                Content::Image(Image { height, width, colorspace: 3, encoded })
            }
            super::Value::Text(text) => {
                metadata = Some(Metadata { plugin: Some(Plugin { name: "text".to_owned() }) });
                let shape = Some(Shape { sizes: vec![Size { size: 1 }] });
                Content::Tensor(Tensor { dtype: 7, shape, texts: vec![text.into_bytes()] })
            }
        };
        Ok(SummaryValue { tag, metadata, content: Some(content) })
    }
}
