//! Weights by name: how they come out of files and go into them, and whether they fit a network.

mod contents;
mod digest;
mod fitting;
mod matching;
mod model_file;
mod pickle;
mod problem;
mod read;
mod rename;
mod safetensors_file;
mod torch_file;
mod torch_state;
mod unpickle;
mod write;
mod zip;

pub use contents::{Contents, Entry, Other};
pub use fitting::{in_channels, is_of_head};
pub use matching::{matching, LoadOptions, LoadReport, Matched};
pub use model_file::{is_whole, read_model, read_model_bytes, write_model, ModelFile, ModelHeader, TrainingPart};
pub use read::{bytes_of, read};
pub use rename::Renaming;
pub use write::{write, Beside, Values};
