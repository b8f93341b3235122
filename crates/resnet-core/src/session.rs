//! A network with its weights and the engine that computes with them: built, loaded, saved, moved.

use crate::cancel::Cancel;
use crate::device::{Compute, Device};
use crate::distributed::Group;
use crate::engine::{BoundNetwork, Engine, Execution, ShardedExecution};
use crate::error::{Code, Error, Result};
use crate::export::onnx::{self, Exported, OnnxOptions};
use crate::interface::Interface;
use crate::model::graph::{trace, trace_channels};
use crate::model::init::{initialise, initialise_some};
use crate::model::params::Params;
use crate::model::quantization::{input_ranges, round_weights, set_input_ranges};
use crate::model::shape::Shape;
use crate::model::Layer;
use crate::plan::{Frozen, Mode};
use crate::rng::{stream, Purpose};
use crate::state_dict::{self, Beside, Entry, ModelFile, ModelHeader, Other, Values};
use crate::trainer_memory::TrainerMemory;
use crate::weights::{check_finite, Weights};
use resnet_ops::{allocate, Executor, Real};
use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

pub use crate::state_dict::{LoadOptions, LoadReport};
pub use crate::tensor::{Images, Named, Tensor};

/// How a session is set up.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Seed of the initial weights.
    pub seed: u64,
    /// Channels of the input, if already known; else the first batch tells.
    pub in_channels: Option<usize>,
    /// How it computes.
    pub compute: Compute,
}

/// What takes the place of a network's last linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewHead {
    /// Outputs of it.
    pub num_classes: usize,
    /// The session's seed, by which it is drawn; the file's if absent.
    pub seed: Option<u64>,
}

/// A network with its weights on a device.
pub struct Session {
    network: Layer,
    seed: u64,
    engine: Engine,
    built: Option<Built>,
    cancel: Cancel,
    interface: Interface,
    trainer_memory: TrainerMemory,
}

/// What there is once the input channels are known.
struct Built {
    in_channels: usize,
    params: Params,
    weights: Weights,
}

/// A session's weights on another backend.
pub(crate) struct Copied {
    /// The backend.
    pub executor: Executor,
    weights: Option<Weights>,
}

impl Session {
    /// Sets a network up; draws its weights at once if the input channels are known.
    ///
    /// # Errors
    /// `ERR_DEVICE` if the device cannot be used; `ERR_SHAPE`, `ERR_INVALID_ARGUMENT` if the network cannot be.
    pub fn new(network: Layer, options: &SessionOptions) -> Result<Self> {
        let mut session = Self::on(network, options.compute.executor()?, options.seed);
        if let Some(in_channels) = options.in_channels {
            session.build(in_channels)?;
        }
        Ok(session)
    }

    /// Sets a network up on a given backend.
    pub fn on(network: Layer, executor: Executor, seed: u64) -> Self {
        Self {
            network,
            seed,
            engine: Engine::new(executor),
            built: None,
            cancel: Cancel::default(),
            interface: Interface::default(),
            trainer_memory: TrainerMemory::default(),
        }
    }

    /// The network, weights and number of updates of a file that [`Session::save`] wrote.
    ///
    /// # Errors
    /// `ERR_IO`, `ERR_MODEL_FILE` if it cannot be read; `ERR_NON_FINITE_WEIGHTS` if weights are NaN or infinite; `ERR_DEVICE` if the device
    /// cannot be used; `ERR_ABORTED`.
    pub fn load(path: &Path, compute: Compute, cancel: &Cancel) -> Result<Self> {
        let file = state_dict::read_model(path, cancel)?;
        let mut session = Self::on(file.header.network.clone(), compute.executor()?, file.header.seed);
        session.take_file(&file)?;
        Ok(session)
    }

    /// Takes weights, number of updates and interface of a file with this network.
    pub(crate) fn take_file(&mut self, file: &ModelFile) -> Result<()> {
        self.take_entries(file.header.in_channels, &file.entries, &[], &LoadOptions::default())?;
        if !file.header.input_ranges.is_empty() {
            self.quantize_weights(|params| set_input_ranges(params, &file.header.input_ranges))?;
        }
        self.built_mut()?.weights.updates = file.updates;
        self.interface = file.header.interface.clone();
        Ok(())
    }

    /// [`Session::load`] with another head: the last linear layer has so many outputs and is drawn anew. What the file says of
    /// classes is not taken; updates count from 0.
    ///
    /// # Errors
    /// As [`Session::load`]; `ERR_INVALID_ARGUMENT` if the network has no linear layer, or cannot have so many outputs.
    pub fn load_with_head(path: &Path, compute: Compute, head: NewHead, cancel: &Cancel) -> Result<Self> {
        let mut file = state_dict::read_model(path, cancel)?;
        let ModelHeader { mut network, in_channels, seed, interface, input_ranges: _ } = file.header;
        if !network.set_classes(head.num_classes) {
            let expected = "none for a network without a linear layer";
            return Err(Error::expected(Code::InvalidArgument, "numClasses", expected, head.num_classes));
        }
        let mut session = Self::on(network, compute.executor()?, head.seed.unwrap_or(seed));
        let params = session.params_for(in_channels)?;
        file.entries.retain(|entry| !state_dict::is_of_head(&params, &entry.name));
        let options = LoadOptions { new_head: true, ..LoadOptions::default() };
        session.take_entries(in_channels, &file.entries, &[], &options)?;
        session.interface = Interface { transform: interface.transform, ..Interface::default() };
        Ok(session)
    }

    /// What ends the calls that follow, in place of what did so far, which is returned: `ERR_ABORTED` from then on. A step that is
    /// ended leaves the weights as they were, a file that is being written the one that was there.
    pub fn cancelled_by(&mut self, cancel: Cancel) -> Cancel {
        std::mem::replace(&mut self.cancel, cancel)
    }

    /// Writes network and weights to a safetensors file, atomically.
    ///
    /// # Errors
    /// `ERR_NOT_BUILT` before the input channels are known; `ERR_NON_FINITE_WEIGHTS`, so that a run that went wrong costs no good file;
    /// `ERR_IO`; `ERR_ABORTED`.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_with(path, None, &[])
    }

    /// [`Session::save`], with what a training run keeps beside the weights and says of itself, as JSON.
    pub(crate) fn save_with(&self, path: &Path, training: Option<String>, beside: &[Beside]) -> Result<()> {
        let Built { in_channels, params, weights } = self.built()?;
        // Once: from a GPU they come over the bus.
        let values = weights.values()?;
        check_finite(params, &values)?;
        let (network, interface) = (self.network.clone(), self.interface.clone());
        let input_ranges = input_ranges(params);
        let header = ModelHeader { network, in_channels: *in_channels, seed: self.seed, interface, input_ranges };
        let [parameters, running] = &values;
        let values = Values { params, parameters, running, updates: weights.updates, beside };
        state_dict::write_model(path, &header, &values, training, &self.cancel)
    }

    /// Writes network and weights to an ONNX file, atomically.
    ///
    /// # Errors
    /// `ERR_NOT_BUILT` before the input channels are known; `ERR_SHAPE` if the shape does not fit the network; `ERR_INVALID_ARGUMENT` if an
    /// option cannot be, or the file would be too large; `ERR_NON_FINITE_WEIGHTS`, also for weights beyond fp16 if that is asked for;
    /// `ERR_IO`; `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
    pub fn export_onnx(&self, path: &Path, options: &OnnxOptions) -> Result<Exported> {
        let Built { in_channels, params, weights } = self.built()?;
        let values = weights.values()?;
        check_finite(params, &values)?;
        let [parameters, running] = &values;
        let (network, in_channels, interface) = (&self.network, *in_channels, &self.interface);
        let source = onnx::Source { network, in_channels, params, parameters, running, interface };
        onnx::write(path, &source, options, &self.cancel)
    }

    /// What pictures it takes and what its outputs mean.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Says what pictures it takes and what its outputs mean; files keep it.
    ///
    /// # Errors
    /// See [`Interface::check`].
    pub fn set_interface(&mut self, interface: Interface) -> Result<()> {
        interface.check(&self.network, self.in_channels())?;
        self.interface = interface;
        Ok(())
    }

    pub(crate) fn set_temperature(&mut self, temperature: f64) {
        self.interface.temperature = temperature;
    }

    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The memory of weights, gradients, what plans work in and what trainers keep, in bytes.
    pub fn bytes(&self) -> usize {
        self.built.as_ref().map_or(0, |built| built.weights.bytes()) + self.engine.bytes() + self.trainer_memory.bytes()
    }

    /// Where trainers say what they keep.
    pub(crate) fn trainer_memory(&self) -> &TrainerMemory {
        &self.trainer_memory
    }

    /// See [`Weights::check_updated`].
    pub(crate) fn check_updated(&self) -> Result<()> {
        let Built { params, weights, .. } = self.built()?;
        weights.check_updated(params)
    }

    /// Takes the weights of a safetensors or PyTorch file (see [`state_dict::read`]) and, if all come from it, its number of updates (0 if it tells none);
    /// binds the input channels.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` of a quantised model; `ERR_STATE_DICT` names what does not fit as the options say, or cannot be renamed so, `ERR_NON_FINITE_WEIGHTS` what is NaN or
    /// infinite as f32; nothing has changed then. `num_batches_tracked` always fits.
    pub fn load_weights(&mut self, path: &Path, options: &LoadOptions) -> Result<LoadReport> {
        self.check_not_quantized("model")?;
        let mut contents = state_dict::read(path, &self.cancel)?;
        contents.rename(&options.rename)?;
        let in_channels = self.in_channels().or_else(|| state_dict::in_channels(&self.network, &contents.entries));
        let in_channels = in_channels.ok_or_else(|| {
            let message = format!("{}: its tensors do not tell the network's input channels", path.display());
            Error::new(Code::StateDict, message)
        })?;
        let report = self.take_entries(in_channels, &contents.entries, &contents.others, options)?;
        if report.missing.is_empty() && report.kept.is_empty() {
            self.built_mut()?.weights.updates = contents.updates;
        }
        Ok(report)
    }

    fn take_entries(
        &mut self,
        in_channels: usize,
        entries: &[Entry],
        others: &[Other],
        options: &LoadOptions,
    ) -> Result<LoadReport> {
        let params = match &self.built {
            Some(built) => built.params.clone(),
            None => self.params_for(in_channels)?,
        };
        let (matched, report) = state_dict::matching(&params, &self.network, entries, others, options)?;
        let (mut parameters, mut running) = match &self.built {
            Some(built) => {
                let [parameters, running] = built.weights.values()?;
                (owned(parameters)?, owned(running)?)
            }
            // Drawn is what the file leaves.
            None => {
                let left: HashSet<&str> = report.missing.iter().chain(&report.kept).map(String::as_str).collect();
                initialise_some(&params, self.seed, |name| left.contains(name))?
            }
        };
        matched.copy_to(&mut parameters, &mut running);
        check_finite(&params, &[Cow::Borrowed(&parameters), Cow::Borrowed(&running)])?;
        match &mut self.built {
            Some(built) => built.weights.set(&parameters, &running)?,
            None => self.bind(in_channels, params, &parameters, &running)?,
        }
        Ok(report)
    }

    /// Backend and weights on another device, or on the same one with other settings; see [`Session::settle`].
    ///
    /// # Errors
    /// `ERR_DEVICE`, `ERR_OUT_OF_MEMORY`.
    pub(crate) fn copied_to(&self, compute: Compute) -> Result<Copied> {
        let executor = compute.executor()?;
        let weights = self.built.as_ref().map(|built| built.weights.copied(&executor)).transpose()?;
        Ok(Copied { executor, weights })
    }

    /// Goes on with what [`Session::copied_to`] gave.
    pub(crate) fn settle(&mut self, copied: Copied) {
        if let (Some(built), Some(weights)) = (&mut self.built, copied.weights) {
            built.weights = weights;
        }
        self.engine = Engine::new(copied.executor);
    }

    /// All that training changes, to go back to; see [`Session::restore`].
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`; if the device fails.
    pub(crate) fn snapshot(&self) -> Result<Option<Weights>> {
        self.built.as_ref().map(|built| built.weights.copied(self.executor())).transpose()
    }

    /// Goes back to what [`Session::snapshot`] gave, also to unknown input channels.
    pub(crate) fn restore(&mut self, snapshot: Option<Weights>) {
        match (&mut self.built, snapshot) {
            (Some(built), Some(weights)) => built.weights = weights,
            (built, _) => *built = None,
        }
        // Plans keep what they have made of the weights that go.
        self.engine.forget();
    }

    /// Draws the weights for a number of input channels, or checks that it is the one they were drawn for.
    ///
    /// # Errors
    /// `ERR_SHAPE` if it is another, or fits no input of the network.
    pub fn build(&mut self, in_channels: usize) -> Result<()> {
        if let Some(built) = &self.built {
            if built.in_channels != in_channels {
                let expected = format!("{} channels", built.in_channels);
                return Err(Error::expected(Code::Shape, "images", expected, in_channels));
            }
            return Ok(());
        }
        let params = self.params_for(in_channels)?;
        let (parameters, running) = initialise(&params, self.seed)?;
        self.bind(in_channels, params, &parameters, &running)
    }

    fn bind(&mut self, in_channels: usize, params: Params, parameters: &[f32], running: &[f32]) -> Result<()> {
        let weights = Weights::new(self.engine.executor(), parameters, running)?;
        self.built = Some(Built { in_channels, params, weights });
        Ok(())
    }

    fn params_for(&self, channels: usize) -> Result<Params> {
        Params::of(&trace_channels(&self.network, channels)?)
    }

    /// Binds the input channels to those of images (N, C, H, W); the parameters that there are then.
    pub(crate) fn bound_to(&mut self, [_, channels, height, width]: [usize; 4]) -> Result<&Params> {
        if self.built.is_none() {
            // A network that does not fit the images is refused before it takes their channels for good.
            trace(&self.network, Shape::map(channels, height, width))?;
        }
        self.build(channels)?;
        Ok(&self.built()?.params)
    }

    /// Makes ready for a batch of images (N, C, H, W); binds the input channels.
    pub(crate) fn prepare(&mut self, shape: [usize; 4], mode: &Mode) -> Result<Execution<'_>> {
        if mode.trains() {
            self.check_not_quantized("model")?;
        }
        self.bound_to(shape)?;
        let Built { params, weights, .. } = self.built.as_mut().expect("built");
        let dropout_seed = stream(self.seed, Purpose::Dropout, weights.updates, weights.batch).bits();
        let bound = BoundNetwork { network: &self.network, params, weights, dropout_seed, cancel: &self.cancel };
        self.engine.prepare(bound, shape, mode)
    }

    /// [`Session::prepare`] for the shards of a batch that are on one rank; see [`Engine::prepare_shards`].
    pub(crate) fn prepare_shards<'a>(
        &'a mut self,
        shape: [usize; 4],
        mode: &Mode,
        group: Group<'a>,
        synced: bool,
    ) -> Result<ShardedExecution<'a>> {
        if mode.trains() {
            self.check_not_quantized("model")?;
        }
        self.bound_to(shape)?;
        let Built { params, weights, .. } = self.built.as_mut().expect("built");
        let dropout_seed = stream(self.seed, Purpose::Dropout, weights.updates, weights.batch).bits();
        let bound = BoundNetwork { network: &self.network, params, weights, dropout_seed, cancel: &self.cancel };
        self.engine.prepare_shards(bound, shape, mode, group, synced)
    }

    /// The device that computes: never [`Device::Auto`].
    pub fn device(&self) -> Device {
        self.executor().gpu().map_or(Device::Cpu, Device::Cuda)
    }

    /// The backend.
    pub(crate) fn executor(&self) -> &Executor {
        self.engine.executor()
    }

    /// The network's description.
    pub fn network(&self) -> &Layer {
        &self.network
    }

    /// The seed of the initial weights.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Input channels, once known.
    pub fn in_channels(&self) -> Option<usize> {
        self.built.as_ref().map(|built| built.in_channels)
    }

    /// The backend, and what training changes.
    ///
    /// # Errors
    /// `ERR_NOT_BUILT` before the input channels are known.
    pub(crate) fn weights_mut(&mut self) -> Result<(&Executor, &mut Weights)> {
        let Self { engine, built, .. } = self;
        let built = built.as_mut().ok_or_else(not_built)?;
        Ok((engine.executor(), &mut built.weights))
    }

    /// Parameters and running statistics.
    ///
    /// # Errors
    /// `ERR_NOT_BUILT` before the input channels are known.
    pub(crate) fn weights(&self) -> Result<&Weights> {
        Ok(&self.built()?.weights)
    }

    /// Parameters and running statistics by state-dict name, in canonical order, without `num_batches_tracked`; in f32, or in f64 from
    /// the f64 backend.
    ///
    /// # Errors
    /// `ERR_NOT_BUILT` before the input channels are known; `ERR_OUT_OF_MEMORY`.
    pub fn state_dict<V: Real>(&self) -> Result<Named<V>> {
        let Built { params, weights, .. } = self.built()?;
        weights.named(params)
    }

    /// The last step's gradients by parameter name, in canonical order, but those of frozen ones; none before the first step.
    pub(crate) fn gradients<V: Real>(&self, frozen: &Frozen) -> Result<Named<V>> {
        let Built { params, weights, .. } = self.built()?;
        weights.named_gradients(params, frozen)
    }

    /// Parameters' names and places, once the input channels are known.
    pub(crate) fn params(&self) -> Option<&Params> {
        self.built.as_ref().map(|built| &built.params)
    }

    /// Takes what `set` says of the inputs of convolutions, and rounds their weights.
    ///
    /// # Errors
    /// As `set`; `ERR_NOT_BUILT`; `ERR_OUT_OF_MEMORY`; if the device fails.
    pub(crate) fn quantize_weights(&mut self, set: impl FnOnce(&mut Params) -> Result<()>) -> Result<()> {
        let Built { params, weights, .. } = self.built()?;
        let mut params = params.clone();
        set(&mut params)?;
        let [parameters, running] = weights.values()?;
        let (mut parameters, running) = (owned(parameters)?, owned(running)?);
        round_weights(&params, &mut parameters)?;
        check_finite(&params, &[Cow::Borrowed(&parameters), Cow::Borrowed(&running)])?;
        let built = self.built_mut()?;
        built.weights.set(&parameters, &running)?;
        built.params = params;
        // Plans were made without.
        self.engine.forget();
        Ok(())
    }

    fn built(&self) -> Result<&Built> {
        self.built.as_ref().ok_or_else(not_built)
    }

    fn built_mut(&mut self) -> Result<&mut Built> {
        self.built.as_mut().ok_or_else(not_built)
    }
}

/// The values in memory of their own.
fn owned(values: Cow<[f32]>) -> Result<Vec<f32>> {
    match values {
        Cow::Borrowed(values) => Ok(allocate::copy_of(values)?),
        Cow::Owned(values) => Ok(values),
    }
}

/// What a call says that needs what only a network with known input channels has.
pub fn not_built() -> Error {
    let expected = "known input channels (the option inChannels, a first batch or loadWeights tells them)";
    Error::expected(Code::NotBuilt, "model", expected, "none so far")
}

#[cfg(test)]
mod tests;
