//! Weights by name: how they come out of files and go into them, and whether they fit a network.

mod fitting;
mod matching;
mod model_file;
mod pickle;
mod read;
mod safetensors_file;
mod torch_file;
mod torch_state;
mod unpickle;
mod write;
mod zip;

pub use fitting::in_channels;
pub use matching::{matching, LoadOptions, LoadReport, Matched};
pub use model_file::{read_model, write_model, Model, ModelHeader};
pub use read::{read, Contents};
pub use write::{write, Values};

/// A named tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// State-dict name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its values in row-major order.
    pub data: Vec<f32>,
}

/// The name that PyTorch gives to a batch norm's number of updates, beside its other names; read over, never required.
const BATCHES_TRACKED: &str = "num_batches_tracked";

/// Whether a name is that of a batch norm's number of updates.
fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(BATCHES_TRACKED)
}
