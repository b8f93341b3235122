//! Lists that a GPU does as one.

use super::Mode;
use resnet_ops::{CapturedGraph, Executor, Result};
use std::collections::HashMap;

/// The lists of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// What is worked out from the weights alone.
    Prepare,
    /// From images to logits.
    Forward,
    /// From the logits' gradient to that of all parameters.
    Backward,
    /// Of running statistics.
    Update,
}

/// What was recorded over the slots, list by list. It holds for the storage that it was recorded on.
#[derive(Default)]
pub struct Recordings(HashMap<(Mode, List), Repeated>);

/// A list that may be walked again and again.
#[derive(Default)]
struct Repeated {
    /// Images of the last walk.
    last: usize,
    /// The recording, and the images it is for; in place of a recording None if it cannot be had.
    recorded: Option<(usize, Option<CapturedGraph>)>,
}

impl Recordings {
    /// Has a list's work done for `n` images: by a walk, and from the second time in a row on as recorded from one, if the
    /// backend can do that. A single batch of another size leaves the recording as it is.
    pub fn run(
        &mut self,
        key: (Mode, List),
        executor: &Executor,
        n: usize,
        mut walk: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let repeated = self.0.entry(key).or_default();
        let again = std::mem::replace(&mut repeated.last, n) == n;
        if again && repeated.recorded.as_ref().is_none_or(|&(images, _)| images != n) {
            // The old one goes before the new one comes.
            repeated.recorded = None;
            repeated.recorded = Some((n, executor.capture(&mut walk)?));
        }
        match &repeated.recorded {
            Some((images, Some(recording))) if *images == n => recording.run(),
            _ => walk(),
        }
    }

    /// Whether a list's work is done as recorded.
    #[cfg(test)]
    pub fn has(&self, key: (Mode, List)) -> bool {
        self.0.get(&key).is_some_and(|repeated| matches!(repeated.recorded, Some((_, Some(_)))))
    }
}
