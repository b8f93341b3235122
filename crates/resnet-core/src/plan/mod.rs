//! How a network runs: lowered to nodes of a backend, scheduled as flat lists of instructions over preallocated slots.
//!
//! [`lower`] turns the walk over the tree into nodes, [`fuse`] joins what a backend does in one pass, [`schedule`] writes
//! the forward, backward and update lists and gives every value a slot by its lifetime, [`run`] walks the lists.

mod fuse;
mod lower;
mod run;
mod schedule;
mod slots;

pub(crate) use run::read_f64;
pub use run::{Run, Weights};
pub use schedule::{Mode, Plan};
pub use slots::Slots;
