//! A learning-rate range test (Smith, 2017: Cyclical Learning Rates): updates with a rate that grows from step to step, and what becomes
//! of the loss.

use super::settings::UpdateConfig;
use super::{Optimizer, ParameterSettings, Trainer};
use crate::data::{Dataset, Order, ResidentDataset};
use crate::error::{Code, Error, Result};
use crate::session::Session;
use serde::Deserialize;

/// Settings of a range test.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinderConfig {
    /// Rate of the first step, above 0.
    pub min_lr: f64,
    /// Rate of the last step, larger than that.
    pub max_lr: f64,
    /// Steps, at least 2. The data set is gone through as often as they need.
    pub steps: usize,
    /// Samples of a step.
    pub batch_size: usize,
    /// The optimiser, whose own rate does not count.
    pub optimizer: Optimizer,
    /// What is not the same for all parameters.
    pub parameters: ParameterSettings,
    /// Seed of the sample order; the session's if absent.
    pub seed: Option<u64>,
}

/// What a range test found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Rates, in order.
    pub lrs: Vec<f64>,
    /// The running mean of the losses at them.
    pub losses: Vec<f64>,
    /// The rate at which the loss falls fastest, if there are enough steps to tell and it falls.
    pub suggestion: Option<f64>,
}

/// Weight of the previous mean in the running one, as fast.ai has it.
const SMOOTHING: f64 = 0.98;
/// The loss that ends the test, in times the least.
const TOO_LARGE: f64 = 4.0;
/// Steps at the beginning and the end that are not suggested, as Lightning has it.
const BEGINNING: usize = 10;
const END: usize = 1;

impl FinderConfig {
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if the description is none or a setting is outside its range.
    pub fn from_json(json: &str) -> Result<Self> {
        let wrong = |error| Error::new(Code::InvalidArgument, format!("findLearningRate: {error}"));
        let config: Self = serde_json::from_str(json).map_err(wrong)?;
        let refuse =
            |parameter, expected: &str, got: f64| Err(Error::expected(Code::InvalidArgument, parameter, expected, got));
        if config.min_lr.is_nan() || config.min_lr <= 0.0 {
            return refuse("minLr", "a rate above 0", config.min_lr);
        }
        if config.max_lr <= config.min_lr || !config.max_lr.is_finite() {
            return refuse("maxLr", "a rate above minLr", config.max_lr);
        }
        if config.steps < 2 {
            return refuse("steps", "at least 2", config.steps as f64);
        }
        if config.batch_size == 0 {
            return refuse("batchSize", "at least 1", 0.0);
        }
        config.parameters.check()?;
        Ok(config)
    }

    fn lr(&self, step: usize) -> f64 {
        self.min_lr * (self.max_lr / self.min_lr).powf(step as f64 / (self.steps - 1) as f64)
    }
}

/// Makes the steps of a range test, until the loss is too large or not finite, and leaves the session as it was.
///
/// # Errors
/// What a step would refuse; `ERR_ABORTED`; `ERR_OUT_OF_MEMORY`. The session is as it was then too.
pub fn find_learning_rate(session: &mut Session, train: &Dataset, config: &FinderConfig) -> Result<Curve> {
    let before = session.snapshot()?;
    let curve = range_test(session, train, config);
    session.restore(before);
    curve
}

fn range_test(session: &mut Session, train: &Dataset, config: &FinderConfig) -> Result<Curve> {
    session.check_data("images", train)?;
    let train = session.resident(train)?;
    let parameters = config.parameters.clone();
    let mut trainer = Trainer::new(UpdateConfig { parameters, ..config.optimizer.into() });
    let (mut curve, mut mean, mut least) = (Curve::default(), 0.0, f64::INFINITY);
    let mut losses = Losses { session, train: &train, config, trainer: &mut trainer, epoch: 0 };
    losses.each(|loss| {
        let step = curve.lrs.len();
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss;
        let smooth = mean / (1.0 - SMOOTHING.powf((step + 1) as f64));
        if step > 0 && smooth > TOO_LARGE * least {
            return false;
        }
        least = smooth.min(least);
        curve.lrs.push(config.lr(step));
        curve.losses.push(smooth);
        curve.lrs.len() < config.steps
    })?;
    curve.suggestion = steepest(&curve.losses).map(|step| curve.lrs[step]);
    Ok(curve)
}

struct Losses<'a> {
    session: &'a mut Session,
    train: &'a ResidentDataset,
    config: &'a FinderConfig,
    trainer: &'a mut Trainer,
    epoch: u64,
}

impl Losses<'_> {
    /// Tells the loss of one step after the other, until there is none that is finite or no more is wanted.
    fn each(&mut self, mut tell: impl FnMut(f64) -> bool) -> Result<()> {
        let seed = self.config.seed.unwrap_or(self.session.seed());
        let mut step = 0;
        loop {
            self.epoch += 1;
            let order = Order::Shuffled { seed, epoch: self.epoch };
            let mut loader = self.train.loader(self.config.batch_size, order, self.session.cancel())?;
            for _ in 0..loader.steps() {
                let batch = loader.next().ok_or_else(|| Error::new(Code::Internal, "the loader ended early"))??;
                self.trainer.set_lr(self.config.lr(step));
                let stepped = self.trainer.step_on(self.session, self.train.input(batch), batch, false);
                let loss = match stepped {
                    Ok(metrics) => metrics.loss(),
                    Err(error) if matches!(error.code, Code::NonFiniteLoss | Code::NonFiniteWeights) => return Ok(()),
                    Err(error) => return Err(error),
                };
                if !tell(loss) {
                    return Ok(());
                }
                step += 1;
            }
        }
    }
}

/// The step at which the losses fall fastest by their neighbours, if they fall.
fn steepest(losses: &[f64]) -> Option<usize> {
    let slope = |step: usize| (losses[step + 1] - losses[step - 1]) / 2.0;
    let steps = BEGINNING..losses.len().saturating_sub(END);
    let steepest = steps.min_by(|&a, &b| slope(a).total_cmp(&slope(b)))?;
    (slope(steepest) < 0.0).then_some(steepest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steepest_fall_counts_but_not_at_the_beginning() {
        let mut losses: Vec<f64> =
            (0..40).map(|step| 2.0 - 1.0 / (1.0 + (-(step as f64 - 23.0) / 2.0).exp())).collect();
        assert_eq!(steepest(&losses), Some(23));
        losses[3] = -100.0;
        assert_eq!(steepest(&losses), Some(23));
        assert_eq!(steepest(&losses[..11]), None);
        assert_eq!(steepest(&(0..40).map(f64::from).collect::<Vec<_>>()), None);
    }
}
