//! What a run is made of while it goes on.

use super::FitConfig;
use crate::train::best::Best;
use crate::train::ema::Ema;
use crate::train::progress::Progress;
use crate::train::Trainer;

/// All that a run goes on from, besides the session.
pub(in crate::train) struct RunState {
    /// Where it is.
    pub progress: Progress,
    /// What the optimiser keeps, gradients that wait for their update, and the average of the weights.
    pub trainer: Trainer,
    /// The best weights, if they are kept and there are some.
    pub best: Option<Best>,
}

impl RunState {
    /// At the beginning of a run.
    pub fn new(config: &FitConfig) -> Self {
        let mut trainer = Trainer::new(config.update());
        trainer.updating.updater.measures_norm = config.course.gradient_norm;
        trainer.updating.ema = config.course.ema.map(Ema::new);
        Self { progress: Progress::after(config.course.initial_epoch), trainer, best: None }
    }
}
