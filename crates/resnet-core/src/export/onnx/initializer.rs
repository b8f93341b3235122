//! The numbers of a graph, as they go to a file: without a copy of them all.

use super::proto::{Element, TensorProto, RAW_DATA};
use super::Precision;
use crate::error::{named, Code, Error, Result};
use half::f16;
use prost::encoding::{encode_key, encode_varint, encoded_len_varint, WireType};
use prost::Message as _;
use std::borrow::Cow;
use std::io::{self, Write};

/// Bytes of a field's number and kind, of numbers up to 15.
pub const KEY_LEN: u64 = 1;

/// A named tensor of the graph.
#[derive(Clone, Debug)]
pub struct Initializer<'a> {
    /// By which nodes read it.
    pub name: String,
    /// Its sizes.
    pub dims: Vec<usize>,
    /// Its values.
    pub numbers: Numbers<'a>,
    /// How numbers are written that are not whole.
    pub precision: Precision,
}

/// The values of a tensor, in row-major order.
#[derive(Clone, Debug)]
pub enum Numbers<'a> {
    /// As they are.
    Plain(Cow<'a, [f32]>),
    /// Rows of the same length, each times its factor.
    Scaled {
        /// All rows.
        values: &'a [f32],
        /// One for each row.
        factors: Vec<f64>,
    },
    /// Whole numbers.
    Whole(Vec<i64>),
}

impl Initializer<'_> {
    /// The type of its elements.
    pub fn element(&self) -> Element {
        match self.numbers {
            Numbers::Plain(_) | Numbers::Scaled { .. } => self.precision.element(),
            Numbers::Whole(_) => Element::I64,
        }
    }

    /// Refuses numbers that its type cannot hold.
    ///
    /// # Errors
    /// `ERR_NON_FINITE_WEIGHTS`.
    pub fn check(&self) -> Result<()> {
        self.each(|value| {
            let (held, expected) = match self.precision {
                Precision::Fp32 => (value.is_finite(), "finite numbers"),
                Precision::Fp16 => {
                    (f16::from_f32(value).is_finite(), "numbers from -65504 to 65504, as fp16 holds them")
                }
            };
            match held {
                true => Ok(()),
                false => Err(Error::expected(Code::NonFiniteWeights, &self.name, expected, named(value.into()))),
            }
        })
    }

    /// Bytes of its message.
    pub fn encoded_len(&self) -> u64 {
        let raw = self.raw_len();
        self.head().encoded_len() as u64 + KEY_LEN + encoded_len_varint(raw) as u64 + raw
    }

    /// Writes its message.
    ///
    /// # Errors
    /// If that fails.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut head = self.head().encode_to_vec();
        encode_key(RAW_DATA, WireType::LengthDelimited, &mut head);
        encode_varint(self.raw_len(), &mut head);
        out.write_all(&head)?;
        if let Numbers::Whole(numbers) = &self.numbers {
            return numbers.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()));
        }
        match self.precision {
            Precision::Fp32 => self.each(|value| out.write_all(&value.to_le_bytes())),
            Precision::Fp16 => self.each(|value| out.write_all(&f16::from_f32(value).to_le_bytes())),
        }
    }

    /// Its message but for the numbers.
    fn head(&self) -> TensorProto {
        let dims = self.dims.iter().map(|&size| size as i64).collect();
        TensorProto { dims, data_type: self.element() as i32, name: self.name.clone(), raw_data: Vec::new() }
    }

    /// Bytes of its numbers, which are in memory, so that these can be counted.
    fn raw_len(&self) -> u64 {
        let (len, size) = match (&self.numbers, self.precision) {
            (Numbers::Whole(numbers), _) => (numbers.len(), 8),
            (Numbers::Plain(values), Precision::Fp32) => (values.len(), 4),
            (Numbers::Plain(values), Precision::Fp16) => (values.len(), 2),
            (Numbers::Scaled { values, .. }, Precision::Fp32) => (values.len(), 4),
            (Numbers::Scaled { values, .. }, Precision::Fp16) => (values.len(), 2),
        };
        (len as u64).saturating_mul(size)
    }

    /// Visits all numbers that are not whole, in order.
    fn each<E>(&self, mut visit: impl FnMut(f32) -> std::result::Result<(), E>) -> std::result::Result<(), E> {
        match &self.numbers {
            Numbers::Plain(values) => values.iter().try_for_each(|&value| visit(value)),
            Numbers::Scaled { values, factors } => {
                let row = (values.len() / factors.len().max(1)).max(1);
                values.chunks(row).zip(factors).try_for_each(|(row, factor)| {
                    row.iter().try_for_each(|&value| visit((f64::from(value) * factor) as f32))
                })
            }
            Numbers::Whole(_) => Ok(()),
        }
    }
}
