//! A network with its weights on a device, ready to run.

use crate::data::{Dataset, Input, Order, Supply};
use crate::device::{Compute, Device};
use crate::error::{Code, Error, Result};
use crate::model::init::initialise;
use crate::model::params::Params;
use crate::model::shape::{trace, trace_channels, Shape};
use crate::model::Layer;
use crate::plan::{Mode, Plan, Run, Slots};
use crate::rng::{stream, Purpose};
use crate::state_dict::{self, Entry, ModelHeader, Values};
use crate::tensor::narrow;
use crate::train::{Metrics, Trainer};
use crate::weights::Weights;
use resnet_ops::sgd::{self, Sgd};
use resnet_ops::{Buffer, Executor};
use std::ops::Range;
use std::path::Path;

pub use crate::state_dict::{LoadOptions, LoadReport};
pub use crate::tensor::{Images, Named, Tensor};

/// Most images that an evaluation runs at a time: what a layer writes should be in a cache when the next one reads it.
const EVALUATED_TOGETHER: usize = 32;

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

/// A network with its weights on a device.
pub struct Session {
    network: Layer,
    seed: u64,
    executor: Executor,
    built: Option<Built>,
}

/// What there is once the input channels are known.
struct Built {
    in_channels: usize,
    params: Params,
    weights: Weights,
    /// Updates that the running statistics have seen.
    updates: u64,
    slots: Slots,
    train: Option<Plan>,
    eval: Option<Plan>,
}

impl Session {
    /// Sets a network up; draws its weights at once if the input channels are known.
    pub fn new(network: Layer, options: &SessionOptions) -> Result<Self> {
        let mut session = Self::on(network, options.compute.executor()?, options.seed);
        if let Some(in_channels) = options.in_channels {
            session.build(in_channels)?;
        }
        Ok(session)
    }

    /// Sets a network up on a given backend.
    pub fn on(network: Layer, executor: Executor, seed: u64) -> Self {
        Self { network, seed, executor, built: None }
    }

    /// The network and weights of a file that [`Session::save`] wrote.
    pub fn load(path: &Path, compute: Compute) -> Result<Self> {
        let file = state_dict::read_model(path)?;
        let ModelHeader { network, in_channels, seed } = file.header;
        let mut session = Self::on(network, compute.executor()?, seed);
        session.take_entries(in_channels, &file.entries, &LoadOptions::default())?;
        Ok(session)
    }

    /// The device that computes: never [`Device::Auto`].
    pub fn device(&self) -> Device {
        self.executor.gpu().map_or(Device::Cpu, Device::Cuda)
    }

    /// Moves weights, and what its trainers keep between steps, to another device, or to the same one with other settings. In any
    /// error everything stays where it is.
    pub fn move_to<'a>(&mut self, compute: Compute, trainers: impl IntoIterator<Item = &'a mut Trainer>) -> Result<()> {
        let executor = compute.executor()?;
        let weights = self.built.as_ref().map(|built| built.weights.copied(&executor)).transpose()?;
        let moved = trainers.into_iter().map(|trainer| Ok((trainer.velocity_on(&executor)?, trainer)));
        for (velocity, trainer) in moved.collect::<Result<Vec<_>>>()? {
            trainer.set_velocity(velocity);
        }
        if let (Some(built), Some(weights)) = (&mut self.built, weights) {
            (built.weights, built.slots, built.train, built.eval) = (weights, Slots::default(), None, None);
        }
        self.executor = executor;
        Ok(())
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

    /// Draws the weights for a number of input channels, or checks that it is the one they were drawn for.
    pub fn build(&mut self, in_channels: usize) -> Result<()> {
        if let Some(built) = &self.built {
            if built.in_channels != in_channels {
                return Err(Error::expected(
                    Code::Shape,
                    "images",
                    format!("{} channels", built.in_channels),
                    in_channels,
                ));
            }
            return Ok(());
        }
        let params = self.params_for(in_channels)?;
        let (learnt, running) = initialise(&params, self.seed)?;
        self.built = Some(Built::new(&self.executor, in_channels, params, &learnt, &running)?);
        Ok(())
    }

    fn params_for(&self, channels: usize) -> Result<Params> {
        Params::of(&trace_channels(&self.network, channels)?)
    }

    /// The network's output for images. With `training`, batch norms use the batch's statistics; running statistics never
    /// change. Binds the input channels if they were not known.
    pub fn forward(&mut self, images: Images, training: bool) -> Result<Tensor> {
        Ok(self.forward_f64(images, training)?.narrow())
    }

    /// [`Session::forward`] in f64, for the f64 backend.
    pub fn forward_f64(&mut self, images: Images, training: bool) -> Result<Tensor<f64>> {
        let n = images.shape[0];
        if training {
            check_images(&images)?;
            let mut run = self.prepare(images.shape, Mode::Train)?;
            run.forward(images.into(), n)?;
            return Ok(Tensor { data: run.output(n)?, shape: run.plan.output().with_batch(n) });
        }
        let (mut data, mut shape) = (Vec::new(), None);
        check_images(&images)?;
        self.evaluate_parts(images.into(), |run, part| {
            data.extend(run.output(part.len())?);
            shape = Some(run.plan.output().with_batch(n));
            Ok(())
        })?;
        Ok(Tensor { data, shape: shape.expect("there is an image") })
    }

    /// Runs images by the evaluation plan, on a CPU a few at a time, and calls `then` after each part, as even as they can be.
    fn evaluate_parts(
        &mut self,
        images: Input,
        mut then: impl FnMut(&mut Run, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let [n, channels, height, width] = images.shape;
        let parts = if self.device() == Device::Cpu { n.div_ceil(EVALUATED_TOGETHER) } else { 1 };
        for part in (0..parts).map(|part| n * part / parts..n * (part + 1) / parts) {
            let mut run = self.prepare([n.div_ceil(parts), channels, height, width], Mode::Eval)?;
            run.forward(images.part(part.clone()), part.len())?;
            then(&mut run, part)?;
        }
        Ok(())
    }

    /// Loss and accuracy over a data set. `progress(done, total)` is called after each batch; if it returns false, the call
    /// ends with `ERR_ABORTED`.
    pub fn evaluate(
        &mut self,
        data: &Dataset,
        batch_size: usize,
        progress: impl FnMut(&mut Self, usize, usize) -> bool,
    ) -> Result<Metrics> {
        let supply = self.supply(data)?;
        self.evaluate_supply(&supply, batch_size, progress)
    }

    /// A data set, with its pixels where the session computes.
    pub(crate) fn supply(&self, data: &Dataset) -> Result<Supply> {
        Supply::new(&self.executor, data)
    }

    /// [`Session::evaluate`] over what [`Session::supply`] gave.
    pub(crate) fn evaluate_supply(
        &mut self,
        supply: &Supply,
        batch_size: usize,
        mut progress: impl FnMut(&mut Self, usize, usize) -> bool,
    ) -> Result<Metrics> {
        let mut loader = supply.loader(batch_size, Order::Sequential, false)?;
        let mut metrics = Metrics::default();
        while let Some(batch) = loader.next() {
            let batch = batch?;
            self.evaluate_parts(supply.input(batch), |run, part| {
                check_labels(run.plan.output(), batch.labels.len(), &batch.labels)?;
                let labels = &batch.labels[part];
                metrics.add(run.loss(labels)?, labels.len());
                Ok(())
            })?;
            if !progress(self, metrics.samples(), supply.data().len()) {
                return Err(Error::new(Code::Aborted, "the evaluation was cancelled"));
            }
        }
        Ok(metrics)
    }

    /// One update: returns loss and hits before it. What the loss shows to be wrong changes nothing.
    pub(crate) fn step(
        &mut self,
        images: Input,
        labels: &[u32],
        optimizer: &Sgd,
        velocity: &mut Option<Buffer>,
    ) -> Result<Metrics> {
        let n = images.shape[0];
        let mut run = self.prepare(images.shape, Mode::Train)?;
        check_labels(run.plan.output(), n, labels)?;
        check_norms(run.plan, n)?;
        let (dtype, len) = (run.executor.exact_dtype(), run.weights.learnt.len());
        if run.weights.gradients.is_empty() {
            run.weights.gradients = run.executor.zeros(dtype, len)?;
        }
        if velocity.is_none() && optimizer.momentum != 0.0 {
            *velocity = Some(run.executor.zeros(dtype, len)?);
        }
        run.forward(images, n)?;
        let outcome = run.loss(labels)?;
        if !outcome.loss_sum.is_finite() {
            let message = format!("loss: expected a finite number, got {}", outcome.loss_sum / n as f64);
            return Err(Error::new(Code::NonFiniteLoss, message));
        }
        run.backward(n)?;
        run.weights.version += 1;
        run.update(n)?;
        let Weights { learnt, gradients, .. } = run.weights;
        let velocity = velocity.as_mut().map(|velocity| velocity.view_mut(0..len));
        let call = sgd::Step { params: learnt.view_mut(0..len), grads: gradients.view(0..len), velocity };
        sgd::step(run.executor, optimizer, call)?;
        self.built.as_mut().expect("prepared").updates += 1;
        let mut metrics = Metrics::default();
        metrics.add(outcome, n);
        Ok(metrics)
    }

    /// Refuses, before a training run begins, what a step of it would refuse.
    pub(crate) fn check_training(&mut self, data: &Dataset, batch_size: usize, last_batch: usize) -> Result<()> {
        let [channels, height, width] = data.image_shape();
        let run = self.prepare([batch_size, channels, height, width], Mode::Train)?;
        check_labels(run.plan.output(), data.len(), data.labels())?;
        check_norms(run.plan, batch_size)?;
        check_norms(run.plan, last_batch)
    }

    /// Likewise for the validation set.
    pub(crate) fn check_validation(&self, data: &Dataset) -> Result<()> {
        let [channels, height, width] = data.image_shape();
        if let Some(expected) = self.in_channels().filter(|&expected| expected != channels) {
            return Err(Error::expected(Code::Shape, "validation", format!("{expected} channels"), channels));
        }
        let trace = trace(&self.network, Shape::map(channels, height, width))?;
        check_labels(trace.shapes[trace.output], data.len(), data.labels())
    }

    /// Parameters and running statistics by state-dict name, in canonical order, without `num_batches_tracked`.
    /// `ERR_NOT_BUILT` before the input channels are known.
    pub fn state_dict(&self) -> Result<Named> {
        Ok(narrow(self.state_dict_f64()?))
    }

    /// [`Session::state_dict`] in f64, for the f64 backend.
    pub fn state_dict_f64(&self) -> Result<Named<f64>> {
        let Built { params, weights, .. } = self.built()?;
        weights.named(params)
    }

    /// The last step's gradients by parameter name, in canonical order; none before the first step.
    pub(crate) fn gradients_f64(&self) -> Result<Named<f64>> {
        let Built { params, weights, .. } = self.built()?;
        weights.named_gradients(params)
    }

    /// Takes the weights of a safetensors or PyTorch file (see [`state_dict::read`]); binds the input channels. If they do
    /// not fit as the options say, nothing changes and `ERR_STATE_DICT` names what differs; `num_batches_tracked` never
    /// does.
    pub fn load_weights(&mut self, path: &Path, options: &LoadOptions) -> Result<LoadReport> {
        let contents = state_dict::read(path)?;
        let in_channels = self.in_channels().or_else(|| state_dict::in_channels(&self.network, &contents.entries));
        let in_channels = in_channels.ok_or_else(|| {
            let message = format!("{}: its tensors do not tell the network's input channels", path.display());
            Error::new(Code::StateDict, message)
        })?;
        self.take_entries(in_channels, &contents.entries, options)
    }

    fn take_entries(&mut self, in_channels: usize, entries: &[Entry], options: &LoadOptions) -> Result<LoadReport> {
        let params = match &self.built {
            Some(built) => built.params.clone(),
            None => self.params_for(in_channels)?,
        };
        let (matched, report) = state_dict::matching(&params, &self.network, entries, options)?;
        let (mut learnt, mut running) = match &self.built {
            Some(built) => built.weights.values()?,
            // Nothing is left to be drawn.
            None if options.strict && report.kept.is_empty() => {
                (vec![0.0; params.learnt_len()], vec![0.0; params.running_len()])
            }
            None => initialise(&params, self.seed)?,
        };
        matched.copy_to(&mut learnt, &mut running);
        match &mut self.built {
            Some(built) => built.weights.set(&learnt, &running)?,
            None => self.built = Some(Built::new(&self.executor, in_channels, params, &learnt, &running)?),
        }
        Ok(report)
    }

    /// Writes network and weights to a safetensors file, atomically. `ERR_NOT_BUILT` before the input channels are known.
    pub fn save(&self, path: &Path) -> Result<()> {
        let Built { in_channels, params, weights, updates, .. } = self.built()?;
        let header = ModelHeader { network: self.network.clone(), in_channels: *in_channels, seed: self.seed };
        let (learnt, running) = weights.values()?;
        state_dict::write_model(
            path,
            &header,
            &Values { params, learnt: &learnt, running: &running, updates: *updates },
        )
    }

    fn built(&self) -> Result<&Built> {
        let message =
            "the network's input channels are not known yet: pass inChannels, or a first batch, or load weights";
        self.built.as_ref().ok_or_else(|| Error::new(Code::NotBuilt, message))
    }

    /// A plan for images of this shape, with room for it.
    fn prepare(&mut self, [n, channels, height, width]: [usize; 4], mode: Mode) -> Result<Run<'_>> {
        let input = Shape::map(channels, height, width);
        if self.built.is_none() {
            // A network that does not fit the images is refused before it takes their channels for good.
            trace(&self.network, input)?;
        }
        self.build(channels)?;
        let (built, executor) = (self.built.as_mut().expect("built"), &self.executor);
        let Built { params, weights, updates, slots, train, eval, .. } = built;
        let place = if mode == Mode::Train { train } else { eval };
        if !place.as_ref().is_some_and(|plan| plan.fits(input, n)) {
            // The old plan goes first: its successor may need the room.
            *place = None;
            slots.forget_recordings();
            *place = Some(Plan::new(executor, &self.network, params, input, n, mode)?);
        }
        let plan = place.as_ref().expect("planned");
        // Each time: another plan may have failed to get its room, and taken some of this one's.
        plan.reserve(executor, slots)?;
        let noise = stream(self.seed, Purpose::Dropout, *updates, 0).bits();
        Ok(Run { plan, executor, slots, weights, noise })
    }
}

impl Built {
    fn new(executor: &Executor, in_channels: usize, params: Params, learnt: &[f32], running: &[f32]) -> Result<Self> {
        let weights = Weights::new(executor, learnt, running)?;
        Ok(Self { in_channels, params, weights, updates: 0, slots: Slots::default(), train: None, eval: None })
    }
}

pub(crate) fn check_images(images: &Images) -> Result<()> {
    let elements = images.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    if elements != Some(images.data.len()) || elements == Some(0) {
        let expected = format!("shape {:?} to hold its values, at least one", images.shape);
        return Err(Error::expected(Code::Shape, "images", expected, format!("{} values", images.data.len())));
    }
    Ok(())
}

/// There must be a label for each image, one of the network's classes.
fn check_labels(output: Shape, n: usize, labels: &[u32]) -> Result<()> {
    let Shape::Features(classes) = output else {
        return Err(Error::expected(Code::Shape, "network", "logits (N, classes) to compare with labels", output));
    };
    if labels.len() != n {
        return Err(Error::expected(Code::Shape, "labels", format!("one for each of {n} images"), labels.len()));
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(index) => {
            let expected = format!("labels below the network's {classes} classes");
            Err(Error::expected(Code::Label, "labels", expected, format!("{} at index {index}", labels[index])))
        }
        None => Ok(()),
    }
}

/// One value per channel has no variance to divide by.
fn check_norms(plan: &Plan, n: usize) -> Result<()> {
    match plan.smallest_norm() {
        Some(pixels) if n * pixels < 2 => {
            let expected = "more than one value per channel in training (a larger batch or larger images)";
            Err(Error::expected(Code::Shape, "batch", expected, format!("{n} image of {pixels} pixel at a batch norm")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
