//! An image on its way into a batch, while it is changed.

use crate::data::transform::Normalise;

/// Planes (C, H, W) of bytes or of numbers, with memory for another such image.
#[derive(Default)]
pub(in crate::data) struct Canvas {
    pub shape: [usize; 3],
    pub planes: Planes,
    pub spare: Planes,
}

/// Pixels of one kind.
pub(in crate::data) enum Planes {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Default for Planes {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

/// A value of an image.
pub(in crate::data) trait Value: Copy + Default {
    fn to_f64(self) -> f64;
    /// As Pillow rounds: towards zero.
    fn of(value: f64) -> Self;
    /// A value that is given as a byte.
    fn of_byte(byte: u8) -> Self;
}

impl Value for u8 {
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn of(value: f64) -> Self {
        value as u8
    }
    fn of_byte(byte: u8) -> Self {
        byte
    }
}

impl Value for f32 {
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn of(value: f64) -> Self {
        value as f32
    }
    fn of_byte(byte: u8) -> Self {
        f32::from(byte) / 255.0
    }
}

/// Something that is done to planes of either kind: from the first slice, of shape (C, H, W), to the second.
pub(in crate::data) trait Redraw {
    fn redraw<T: Value>(&self, from: &[T], to: &mut [T], shape: [usize; 3]);
}

impl Canvas {
    /// Memory for an image of bytes of this shape.
    pub fn bytes(&mut self, shape: [usize; 3]) -> &mut Vec<u8> {
        self.shape = shape;
        if let Planes::Floats(_) = self.planes {
            self.planes = Planes::default();
        }
        match &mut self.planes {
            Planes::Bytes(bytes) => bytes,
            Planes::Floats(_) => unreachable!("it was replaced"),
        }
    }

    /// Memory for an image of numbers of this shape.
    pub fn floats(&mut self, shape: [usize; 3]) -> &mut Vec<f32> {
        self.shape = shape;
        if let Planes::Bytes(_) = self.planes {
            self.planes = Planes::Floats(Vec::new());
        }
        match &mut self.planes {
            Planes::Floats(floats) => floats,
            Planes::Bytes(_) => unreachable!("it was replaced"),
        }
    }

    /// The image as bytes, if it is one of bytes.
    pub fn as_bytes(&mut self) -> Option<&mut [u8]> {
        match &mut self.planes {
            Planes::Bytes(bytes) => Some(bytes),
            Planes::Floats(_) => None,
        }
    }

    /// Does something to the image that needs it twice.
    pub fn redraw(&mut self, work: &impl Redraw) {
        match (&mut self.planes, &mut self.spare) {
            (Planes::Bytes(from), Planes::Bytes(to)) => {
                to.resize(from.len(), 0);
                work.redraw(from, to, self.shape);
            }
            (Planes::Floats(from), Planes::Floats(to)) => {
                to.resize(from.len(), 0.0);
                work.redraw(from, to, self.shape);
            }
            (Planes::Bytes(_), Planes::Floats(_)) => {
                self.spare = Planes::default();
                return self.redraw(work);
            }
            (Planes::Floats(_), Planes::Bytes(_)) => {
                self.spare = Planes::Floats(Vec::new());
                return self.redraw(work);
            }
        }
        std::mem::swap(&mut self.planes, &mut self.spare);
    }

    /// Writes the image as batches hold it.
    pub fn write(&self, normalise: Option<&Normalise>, out: &mut [f32]) {
        match &self.planes {
            Planes::Bytes(bytes) => Normalise::write_bytes(normalise, bytes, self.shape[0], out),
            Planes::Floats(floats) => {
                out.copy_from_slice(floats);
                normalise.iter().for_each(|normalise| normalise.apply(out));
            }
        }
    }
}
