//! Checkpoints: model files with all that a run keeps beside the weights, from which it goes on to the same bits as if it had never stopped.

mod contents;
mod folder;
mod identity;

use folder::checkpoints;
pub use identity::Identity;

use super::state::State;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::session::Session;
use crate::state_dict::{read_model, ModelFile};
use crate::train::progress::Progress;
use contents::{beside, go_on_from, Described};
use folder::Folder;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where and when a run writes checkpoints. At its end it always writes one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// The run's folder, made if it is not there. Beside the checkpoints it gets the best epoch's model, if there is a validation set.
    pub dir: PathBuf,
    /// After each update whose number in the run is a multiple.
    #[serde(default)]
    pub every_steps: Option<usize>,
    /// After each epoch whose number is a multiple.
    #[serde(default)]
    pub every_epochs: Option<usize>,
    /// After the first update when so much time has passed since the last one.
    #[serde(default)]
    pub every_minutes: Option<f64>,
    /// How many of the last ones stay.
    pub keep: usize,
}

impl CheckpointConfig {
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if a setting is outside its range.
    pub fn check(&self) -> Result<()> {
        for (name, value) in
            [("everySteps", self.every_steps), ("everyEpochs", self.every_epochs), ("keep", Some(self.keep))]
        {
            if value == Some(0) {
                return Err(Error::expected(Code::InvalidArgument, &format!("checkpoint.{name}"), "at least 1", 0));
            }
        }
        match self.every_minutes {
            Some(minutes) if !(minutes > 0.0 && minutes.is_finite()) => {
                Err(Error::expected(Code::InvalidArgument, "checkpoint.everyMinutes", "a number above 0", minutes))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The checkpoints of a run at work.
pub struct Checkpoints {
    config: CheckpointConfig,
    folder: Folder,
    identity: Identity,
    /// Updates at the last one, and when that was.
    last: (usize, Instant),
}

impl Checkpoints {
    /// Takes the folder for a run.
    ///
    /// # Errors
    /// `ERR_BUSY` if another run uses it; `ERR_IO`.
    pub fn take(config: &CheckpointConfig, identity: Identity) -> Result<Self> {
        let folder = Folder::take(&config.dir)?;
        Ok(Self { config: config.clone(), folder, identity, last: (0, Instant::now()) })
    }

    /// Whether a run that is to go on from there begins: it is this folder, and there is no checkpoint yet.
    pub fn is_begun_by(&self, from: &Path) -> bool {
        is_same(from, &self.config.dir) && checkpoints(from).is_ok_and(|found| found.is_empty())
    }

    /// Refuses a folder whose checkpoints are not those of the run, which goes on from there if it does: theirs would get lost among its own.
    ///
    /// # Errors
    /// `ERR_CHECKPOINT`; `ERR_IO`.
    pub fn check(&self, from: Option<&Path>) -> Result<()> {
        let best = Some(self.folder.best()).filter(|best| from.is_none() && best.exists());
        let Some(last) = checkpoints(&self.config.dir)?.pop().or(best) else { return Ok(()) };
        let is_last = |from: &Path| is_same(from, &self.config.dir) || is_same(from, &last);
        if from.is_some_and(is_last) {
            return Ok(());
        }
        let expected = match from {
            Some(_) => "a folder without checkpoints, or that whose last one is resumed from",
            None => "a folder without checkpoints, or resume to go on from the last one",
        };
        Err(Error::expected(Code::Checkpoint, "checkpoint.dir", expected, format!("one with {}", last.display())))
    }

    /// Says how many updates had been made when the run began.
    pub fn begin_after(&mut self, updates: usize) {
        self.last = (updates, Instant::now());
    }

    /// Whether one is to be written after an update.
    pub fn is_due(&self, progress: &Progress) -> bool {
        let CheckpointConfig { every_steps, every_minutes, .. } = self.config;
        let (updates, written) = self.last;
        progress.updates > updates
            && (every_steps.is_some_and(|every| progress.updates.is_multiple_of(every))
                || every_minutes.is_some_and(|minutes| written.elapsed().as_secs_f64() >= 60.0 * minutes))
    }

    /// Whether one is to be written when an epoch has ended; `is_last` if it was the run's last.
    pub fn is_due_after_epoch(&self, epoch: usize, is_last: bool) -> bool {
        is_last || self.config.every_epochs.is_some_and(|every| epoch.is_multiple_of(every))
    }

    /// Writes one; the session has the weights that are trained. The oldest ones go.
    ///
    /// # Errors
    /// `ERR_IO`, `ERR_OUT_OF_MEMORY`, `ERR_ABORTED`; those that were there stay then.
    pub fn write(&mut self, session: &Session, state: &mut State) -> Result<PathBuf> {
        let path = self.folder.checkpoint(state.progress.updates as u64);
        let described = Described::of(&self.identity, state).to_json()?;
        session.save_with(&path, Some(described), &beside(state)?)?;
        self.last = (state.progress.updates, Instant::now());
        self.folder.keep(self.config.keep)?;
        Ok(path)
    }

    /// Writes the model as the best so far.
    ///
    /// # Errors
    /// As [`Session::save`].
    pub fn write_best(&self, session: &Session) -> Result<()> {
        session.save(&self.folder.best())
    }
}

/// A checkpoint that has been read and belongs to a run, which has not changed yet.
pub struct Checkpoint {
    path: PathBuf,
    file: ModelFile,
    described: Described,
}

impl Checkpoint {
    /// Reads the file, or the last one of the folder.
    ///
    /// # Errors
    /// `ERR_IO` if there is none; `ERR_MODEL_FILE` if it is damaged or no checkpoint; `ERR_ABORTED`.
    pub fn read(from: &Path, cancel: &Cancel) -> Result<Self> {
        let path = match from.is_dir() {
            false => from.to_owned(),
            true => checkpoints(from)?.pop().ok_or_else(|| {
                Error::expected(Code::Io, "resume", "a folder with checkpoints, or one of them", from.display())
            })?,
        };
        let before = || checkpoints(from).ok().and_then(|found| found.into_iter().rev().nth(1));
        let mut file = read_model(&path, cancel).map_err(|error| match before() {
            Some(before) if error.code == Code::ModelFile => {
                let way = format!("to go on from the one before, {}, remove it", before.display());
                Error::new(error.code, format!("{}; {way}", error.message))
            }
            Some(_) | None => error,
        })?;
        let Some(training) = file.training.take() else {
            let message = format!("{}: a model without what a run needs to go on: no checkpoint", path.display());
            return Err(Error::new(Code::ModelFile, message));
        };
        let described = Described::from_json(&training.description)
            .map_err(|error| Error::new(Code::ModelFile, format!("{}: {error}", path.display())))?;
        file.training = Some(training);
        Ok(Self { path, file, described })
    }

    /// Refuses one of another run.
    ///
    /// # Errors
    /// `ERR_CHECKPOINT` names what differs; `ERR_INVALID_ARGUMENT` if more epochs have ended than the run is to have.
    pub fn check(&self, session: &Session, epochs: usize, identity: &Identity) -> Result<()> {
        let ended = self.described.epochs_ended();
        if ended > epochs {
            let expected = format!("at least the {ended} that had ended when {} was written", self.path.display());
            return Err(Error::expected(Code::InvalidArgument, "epochs", expected, epochs));
        }
        let header = &self.file.header;
        let differs = if session.network() != &header.network {
            Some("the network of this run")
        } else if session.in_channels().is_some_and(|channels| channels != header.in_channels) {
            Some("the input channels of this run")
        } else if session.seed() != header.seed {
            Some("the seed of this run's model")
        } else {
            None
        };
        if let Some(expected) = differs {
            let expected = format!("a checkpoint with {expected}");
            return Err(Error::expected(
                Code::Checkpoint,
                "resume",
                expected,
                format!("{} with another", self.path.display()),
            ));
        }
        self.described.identity.check(identity, &self.path)
    }

    /// Brings a session, which was found to fit it, and a state that has its buffers to where the run was.
    ///
    /// # Errors
    /// `ERR_MODEL_FILE` if it lacks something; nothing has changed then. `ERR_OUT_OF_MEMORY`; if the device fails.
    ///
    /// Returns where it was read from.
    pub fn give(self, session: &mut Session, state: &mut State) -> Result<PathBuf> {
        let Self { path, file, described } = self;
        match go_on_from(&file, described, session, state) {
            Ok(()) => Ok(path),
            Err(error) if error.code == Code::ModelFile => {
                Err(Error::new(error.code, format!("{}: {}", path.display(), error.message)))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether two paths are of one file or folder, which is there.
fn is_same(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| std::fs::canonicalize(path).ok());
    one.is_some() && one == other
}

#[cfg(test)]
mod tests;
