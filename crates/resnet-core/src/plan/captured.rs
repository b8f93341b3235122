//! Lists that a GPU runs as one captured graph.

use super::instruction::List;
use super::mode::Mode;
use resnet_ops::{CapturedGraph, Executor, Result};
use std::collections::HashMap;

/// What was captured over the slots, list by list. It holds for the storage that it was captured on.
#[derive(Default)]
pub struct CapturedGraphs(HashMap<(Mode, List), Repeated>);

/// A list that may be run again and again.
#[derive(Default)]
struct Repeated {
    /// Images of the last run.
    last: usize,
    /// The graph, and the images it is for; in place of a graph None if it cannot be had.
    captured: Option<(usize, Option<CapturedGraph>)>,
}

impl CapturedGraphs {
    /// Runs a list for `n` images: by a walk, and from the second time in a row on as captured from one, if the backend can do that. A
    /// single batch of another size leaves the graph as it is.
    pub fn run(
        &mut self,
        (mode, list): (&Mode, List),
        executor: &Executor,
        n: usize,
        mut walk: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let repeated = self.0.entry((mode.clone(), list)).or_default();
        let again = std::mem::replace(&mut repeated.last, n) == n;
        if again && repeated.captured.as_ref().is_none_or(|&(images, _)| images != n) {
            // The old one goes before the new one comes.
            repeated.captured = None;
            repeated.captured = Some((n, executor.capture(&mut walk)?));
        }
        match &repeated.captured {
            Some((images, Some(graph))) if *images == n => graph.run(),
            Some(_) | None => walk(),
        }
    }

    /// Whether a list is run as captured.
    #[cfg(test)]
    pub fn has(&self, mode: &Mode, list: List) -> bool {
        self.0.get(&(mode.clone(), list)).is_some_and(|repeated| matches!(repeated.captured, Some((_, Some(_)))))
    }
}
