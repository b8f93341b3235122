//! Checkpoints: model files with all that a run keeps beside the weights, from which it goes on to the same bits as if it had never stopped.

mod contents;
mod folder;
mod identity;
mod shared;

use folder::checkpoints_in;
pub use identity::Identity;

use super::run_state::RunState;
use crate::cancel::Cancel;
use crate::error::{Code, Error, Result};
use crate::session::Session;
use crate::state_dict::{bytes_of, is_whole, read_model, read_model_bytes, ModelFile};
use crate::train::progress::Progress;
use crate::train::SkippedCheckpoint;
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
    /// When it is aborted too, unless no update has been made since the last one.
    #[serde(default)]
    pub on_abort: bool,
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

impl CheckpointConfig {
    /// Whether a run that is to go on from there begins: it is this folder, and there is no checkpoint yet.
    pub fn is_begun_by(&self, from: &Path) -> bool {
        let is_same = from == self.dir || is_same(from, &self.dir);
        is_same && checkpoints_in(from).is_ok_and(|found| found.is_empty())
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

    /// Refuses a folder whose checkpoints are not those of the run, which goes on from there if it does: theirs would get lost among its own.
    ///
    /// # Errors
    /// `ERR_CHECKPOINT`; `ERR_IO`.
    pub fn check(&self, from: Option<&Path>) -> Result<()> {
        let best = Some(self.folder.best()).filter(|best| from.is_none() && best.exists());
        let Some(last) = checkpoints_in(&self.config.dir)?.pop().or(best) else { return Ok(()) };
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

    /// Whether one is to be written when the run has been aborted.
    pub fn is_due_after_abort(&self, progress: &Progress) -> bool {
        self.config.on_abort && progress.updates > self.last.0
    }

    /// Whether one is to be written when an epoch has ended; `is_last` if it was the run's last.
    pub fn is_due_after_epoch(&self, epoch: usize, is_last: bool) -> bool {
        is_last || self.config.every_epochs.is_some_and(|every| epoch.is_multiple_of(every))
    }

    /// Writes one; the session has the weights that are trained. The oldest ones go.
    ///
    /// # Errors
    /// `ERR_IO`, `ERR_OUT_OF_MEMORY`, `ERR_ABORTED`; those that were there stay then.
    pub fn write(&mut self, session: &Session, state: &mut RunState) -> Result<PathBuf> {
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

    /// Sets the best model's file aside if it is damaged.
    fn set_damaged_best_aside(&self, cancel: &Cancel) -> Result<Option<SkippedCheckpoint>> {
        let best = self.folder.best();
        match read_model(&best, cancel) {
            Err(error) if error.code == Code::ModelFile && !is_whole(&best, cancel)? => {
                Ok(Some(SkippedCheckpoint { path: self.folder.set_aside(&best)?, reason: error.message }))
            }
            Err(error) if error.code == Code::Aborted => Err(error),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

/// Where a run goes on from.
pub struct Origin {
    /// The checkpoint.
    pub path: PathBuf,
    /// Newer ones that are damaged, and the best model's file if it is.
    pub skipped: Vec<SkippedCheckpoint>,
    /// Whether the best model's file is among them, or was gone already.
    pub lacks_best: bool,
}

/// A checkpoint that has been read and belongs to a run, which has not changed yet.
pub struct Checkpoint {
    origin: Origin,
    file: ModelFile,
    described: Described,
    /// The file's bytes, where other ranks are to get them.
    bytes: Vec<u8>,
}

impl Checkpoint {
    /// Reads the file, or the last one of the folder whose bytes are those that were written: one that is damaged costs the time since the
    /// one before, and no more, for the run goes on to the same bits from either. Keeps its bytes if it is to be given to other ranks.
    ///
    /// # Errors
    /// `ERR_IO` if there is none; `ERR_MODEL_FILE` if it is damaged, of a folder if all are, or no checkpoint; `ERR_ABORTED`.
    pub fn read(from: &Path, is_shared: bool, cancel: &Cancel) -> Result<Self> {
        let read = |path: &Path| -> Result<(ModelFile, Vec<u8>)> {
            if !is_shared {
                return Ok((read_model(path, cancel)?, Vec::new()));
            }
            let bytes = bytes_of(path)?;
            Ok((read_model_bytes(&bytes, path, cancel)?, bytes))
        };
        if !from.is_dir() {
            let (file, bytes) = read(from)?;
            return Self::of(from.to_owned(), file, bytes, Vec::new());
        }
        let mut skipped = Vec::new();
        for path in checkpoints_in(from)?.into_iter().rev() {
            match read(&path) {
                Err(error) if error.code == Code::ModelFile && !is_whole(&path, cancel)? => {
                    skipped.push(SkippedCheckpoint { path, reason: error.message });
                }
                found => {
                    let (file, bytes) = found?;
                    return Self::of(path, file, bytes, skipped);
                }
            }
        }
        Err(match skipped.into_iter().next() {
            Some(SkippedCheckpoint { reason, .. }) => {
                Error::new(Code::ModelFile, format!("{reason}; no checkpoint in {} is whole", from.display()))
            }
            None => Error::expected(Code::Io, "resume", "a folder with checkpoints, or one of them", from.display()),
        })
    }

    fn of(path: PathBuf, mut file: ModelFile, bytes: Vec<u8>, skipped: Vec<SkippedCheckpoint>) -> Result<Self> {
        let Some(training) = file.training.take() else {
            let message = format!("{}: a model without what a run needs to go on: no checkpoint", path.display());
            return Err(Error::new(Code::ModelFile, message));
        };
        let described = Described::from_json(&training.description)
            .map_err(|error| Error::new(Code::ModelFile, format!("{}: {error}", path.display())))?;
        file.training = Some(training);
        Ok(Self { origin: Origin { path, skipped, lacks_best: false }, file, described, bytes })
    }

    /// Refuses one of another run.
    ///
    /// # Errors
    /// `ERR_CHECKPOINT` names what differs; `ERR_INVALID_ARGUMENT` if more epochs have ended than the run is to have.
    pub fn check(&self, session: &Session, epochs: usize, identity: &Identity) -> Result<()> {
        let ended = self.described.epochs_ended();
        if ended > epochs {
            let expected =
                format!("at least the {ended} that had ended when {} was written", self.origin.path.display());
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
                format!("{} with another", self.origin.path.display()),
            ));
        }
        self.described.identity.check(identity, &self.origin.path)
    }

    /// Sets aside what was passed over in the folder of the run's own checkpoints, among which it would count, and a best model that is damaged.
    ///
    /// # Errors
    /// `ERR_IO`; `ERR_ABORTED`.
    pub fn set_damaged_aside(&mut self, checkpoints: &Checkpoints, cancel: &Cancel) -> Result<()> {
        let is_own = |path: &Path| path.parent().is_some_and(|folder| is_same(folder, &checkpoints.config.dir));
        for skipped in self.origin.skipped.iter_mut().filter(|skipped| is_own(&skipped.path)) {
            skipped.path = checkpoints.folder.set_aside(&skipped.path)?;
        }
        let best = checkpoints.set_damaged_best_aside(cancel)?;
        // A run that set it aside may have ended before it was made anew.
        let is_gone = is_own(&self.origin.path) && self.described.tells_best() && !checkpoints.folder.best().exists();
        self.origin.lacks_best = best.is_some() || is_gone;
        self.origin.skipped.extend(best);
        Ok(())
    }

    /// Brings a session, which was found to fit it, and a state that has its buffers to where the run was.
    ///
    /// # Errors
    /// `ERR_MODEL_FILE` if it lacks something; nothing has changed then. `ERR_OUT_OF_MEMORY`; if the device fails.
    ///
    /// Returns where it was read from.
    pub fn give(self, session: &mut Session, state: &mut RunState) -> Result<Origin> {
        let Self { origin, file, described, bytes: _ } = self;
        match go_on_from(&file, described, session, state) {
            Ok(()) => Ok(origin),
            Err(error) if error.code == Code::ModelFile => {
                Err(Error::new(error.code, format!("{}: {}", origin.path.display(), error.message)))
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
