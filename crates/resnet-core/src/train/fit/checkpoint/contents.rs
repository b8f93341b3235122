//! What a checkpoint holds beside the weights: the run's place and identity as JSON, and what optimiser, averages and the best epoch keep.

use super::super::run_state::RunState;
use super::identity::Identity;
use crate::error::{brief, Code, Error, Result};
use crate::session::Session;
use crate::state_dict::{Beside, Entry, ModelFile};
use crate::train::best::Best;
use crate::train::progress::Progress;
use crate::train::step::Updating;
use crate::weights::values_of;
use resnet_ops::Buffer;
use serde::{Deserialize, Serialize};

/// The form of checkpoints that this version writes and reads.
const VERSION: u64 = 1;

/// What a checkpoint says of its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    version: u64,
    /// What tells the run from others.
    pub identity: Identity,
    progress: Progress,
    /// Updates that the optimiser has made.
    optimizer_steps: u64,
    /// Batches whose gradients wait for their update, and their weight.
    accumulated: (usize, f64),
    /// Updates that the averages have taken.
    averaged: u64,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl Described {
    /// Of a run where it is.
    pub fn of(identity: &Identity, state: &RunState) -> Self {
        let updating = &state.trainer.updating;
        Self {
            version: VERSION,
            identity: identity.clone(),
            progress: state.progress.clone(),
            optimizer_steps: updating.updater.state.steps,
            accumulated: updating.accumulation.accumulated(),
            averaged: updating.ema.as_ref().map_or(0, |ema| ema.updates),
        }
    }

    /// Epochs that had ended.
    pub fn epochs_ended(&self) -> usize {
        self.progress.epoch - 1
    }

    /// Whether there was a best model.
    pub fn tells_best(&self) -> bool {
        self.progress.best.is_some()
    }

    /// As files have it.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::new(Code::Internal, error.to_string()))
    }

    /// What [`Self::to_json`] gave, or why it is none.
    pub fn from_json(json: &str) -> std::result::Result<Self, String> {
        let reason = |error: serde_json::Error| format!("what it says of its run: {}", brief(&error));
        let Version { version } = serde_json::from_str(json).map_err(reason)?;
        match version {
            VERSION => {
                let described: Self = serde_json::from_str(json).map_err(reason)?;
                match described.progress.epoch {
                    0 => Err("what it says of its run: expected epochs that count from 1, got 0".to_owned()),
                    _ => Ok(described),
                }
            }
            newer => Err(format!(
                "expected a checkpoint of version {VERSION}, got {newer}: a newer resnet-native wrote it, update to go on from it"
            )),
        }
    }
}

/// The numbers of a run that stand beside the weights. The averages are not in use.
///
/// # Errors
/// If the device fails.
pub fn beside(state: &mut RunState) -> Result<Vec<Beside<'_>>> {
    buffers(state).into_iter().map(|(name, buffer)| Ok(Beside { name, values: values_of(buffer)? })).collect()
}

/// Brings a session and a state, whose buffers are there, to where the run was.
///
/// # Errors
/// `ERR_MODEL_FILE` if something is missing, or of another length; nothing has changed then. `ERR_OUT_OF_MEMORY`; if the device fails.
pub fn go_on_from(file: &ModelFile, described: Described, session: &mut Session, state: &mut RunState) -> Result<()> {
    let Described { progress, optimizer_steps, accumulated: (batches, weight), averaged, .. } = described;
    let entries = file.training.as_ref().map_or(&[][..], |training| &training.entries);
    let find = |name: &str| entries.iter().find(|entry| entry.name == name);
    if find("best.parameters").is_some() && state.best.is_none() {
        let (executor, weights) = session.weights_mut()?;
        state.best = Some(Best::of(executor, weights)?);
    }
    state.trainer.updating.accumulation.go_on(batches, weight);
    let targets = buffers(state).into_iter().map(|(name, buffer)| match find(&name) {
        Some(Entry { data, .. }) if data.len() == buffer.len() => Ok((buffer, data)),
        Some(_) | None => Err(Error::expected(Code::ModelFile, &name, format!("{} numbers", buffer.len()), "others")),
    });
    let targets = targets.collect::<Result<Vec<_>>>()?;
    session.take_file(file)?;
    for (buffer, data) in targets {
        buffer.write(data)?;
    }
    let Updating { updater, ema, .. } = &mut state.trainer.updating;
    updater.state.steps = optimizer_steps;
    if let Some(ema) = ema {
        ema.updates = averaged;
    }
    state.progress = progress;
    Ok(())
}

/// The buffers of a run beside the weights, by the names that files give them.
fn buffers(state: &mut RunState) -> Vec<(String, &mut Buffer)> {
    let RunState { trainer, best, .. } = state;
    let Updating { updater, accumulation, ema } = &mut trainer.updating;
    let mut buffers: Vec<(String, &mut Buffer)> = Vec::new();
    buffers.extend(updater.state.buffers_mut().map(|(name, buffer)| (format!("optimizer.{name}"), buffer)));
    buffers.extend(accumulation.sum_mut().map(|sum| ("gradients".to_owned(), sum)));
    if let Some(ema) = ema {
        buffers.extend([
            ("average.parameters".to_owned(), &mut ema.parameters),
            ("average.running".to_owned(), &mut ema.running),
        ]);
    }
    if let Some(best) = best {
        buffers.extend([
            ("best.parameters".to_owned(), &mut best.parameters),
            ("best.running".to_owned(), &mut best.running),
        ]);
    }
    buffers
}
