//! Lists that a GPU runs as one captured graph.

use super::instruction::List;
use super::mode::Mode;
use resnet_ops::{Capture, CapturedGraph, Executor, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// How often a capture that the device refuses is tried again: what it says of another thread's work, or of memory, passes.
const TRIES: usize = 3;

/// What was captured over the slots, list by list. It holds for the storage that it was captured on.
#[derive(Default)]
pub struct CapturedGraphs(HashMap<(Mode, List), Repeated>);

/// A list that may be run again and again.
#[derive(Default)]
struct Repeated {
    /// Images of the last run.
    last: usize,
    /// The images that the graph is for, or that it was tried for, and the graph.
    captured: Option<(usize, State)>,
}

/// What came of capturing.
enum State {
    Graph(CapturedGraph),
    /// Refused so often. The reason is told of for as long as it is kept here.
    Refused {
        times: usize,
        _reason: Arc<str>,
    },
    Never,
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
        let refused = match &repeated.captured {
            Some((images, State::Graph(_) | State::Never)) if *images == n => None,
            Some((images, State::Refused { times, .. })) if *images == n => Some(*times).filter(|&times| times < TRIES),
            Some(_) | None => Some(0),
        };
        if let (true, Some(times)) = (again, refused) {
            // The old one goes before the new one comes.
            repeated.captured = None;
            let state = match executor.capture(&mut walk)? {
                Capture::Graph(graph) => State::Graph(graph),
                Capture::Refused(_reason) => State::Refused { times: times + 1, _reason },
                Capture::Never => State::Never,
            };
            repeated.captured = Some((n, state));
        }
        match &repeated.captured {
            Some((images, State::Graph(graph))) if *images == n => graph.run(),
            Some(_) | None => walk(),
        }
    }

    /// Whether a list is run as captured.
    #[cfg(test)]
    pub fn has(&self, mode: &Mode, list: List) -> bool {
        let captured = self.0.get(&(mode.clone(), list)).and_then(|repeated| repeated.captured.as_ref());
        matches!(captured, Some((_, State::Graph(_))))
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::{CapturedGraphs, TRIES};
    use crate::plan::{List, Mode};
    use resnet_ops::{relu, DType, DeviceProbe, Executor};

    /// Runs a list so often where the first captures are refused; which runs were walked, captures too, whether it ended captured, and whether
    /// a reason is then told why not.
    fn walks(refused: usize, runs: usize) -> (Vec<usize>, [bool; 2]) {
        let gpu = Executor::refusing_for_tests(refused);
        let x = gpu.upload(DType::F32, &[-1f32; 8]).unwrap();
        let mut y = gpu.zeros(DType::F32, 8).unwrap();
        let mut graphs = CapturedGraphs::default();
        let walked = (0..runs).map(|_| {
            let mut walked = 0;
            y.write(&[9f32; 8]).unwrap();
            let walk = || {
                walked += 1;
                relu::forward(&gpu, 8, &x, &mut y)
            };
            graphs.run((&Mode::TRAIN, List::Forward), &gpu, 4, walk).unwrap();
            assert_eq!(y.read::<f64>(0..8).unwrap(), [0.0; 8]);
            walked
        });
        let walked = walked.collect();
        let told = DeviceProbe::new().refused_capture;
        assert!(told.iter().all(|reason| reason == "an imitation of a driver that refuses"), "{told:?}");
        (walked, [graphs.has(&Mode::TRAIN, List::Forward), told.is_some()])
    }

    #[test]
    fn a_refused_capture_is_tried_again_a_few_times() {
        assert_eq!(walks(0, 4), (vec![1, 1, 0, 0], [true, false]));
        assert_eq!(walks(1, 5), (vec![1, 2, 1, 0, 0], [true, false]));
        assert_eq!(walks(TRIES, 6), (vec![1, 2, 2, 2, 1, 1], [false, true]));
        // What is gone is told of no longer.
        assert_eq!(DeviceProbe::new().refused_capture, None);
    }
}
