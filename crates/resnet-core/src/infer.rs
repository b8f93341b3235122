//! A session used without training: outputs, loss and accuracy, the values inside a network and their gradients.

use crate::data::{DataPass, Dataset, Input, LabelKind, Loader, Order, ResidentDataset};
use crate::device::Device;
use crate::engine::{check_labels, BatchExecution, Execution};
use crate::error::{named, Code, Error, Result};
use crate::loss::Loss;
use crate::metrics::Metrics;
use crate::model::graph::trace;
use crate::model::shape::Shape;
use crate::plan::{Gradients, Mode, Statistics};
use crate::session::Session;
use crate::tally::{Report, Tally};
use crate::tensor::{Images, Tensor};
use resnet_ops::{allocate, Outcome, Real};
use std::ops::Range;

/// Most images that an evaluation runs at a time, and most pixels of theirs unless one image has more: what a layer writes should be in a
/// cache when the next one reads it.
pub(crate) const EVALUATED_TOGETHER: usize = 32;
const EVALUATED_PIXELS: usize = 32 * 96 * 96;

/// Images of a size that are run at a time on a CPU.
pub(crate) fn evaluated_together(height: usize, width: usize) -> usize {
    (EVALUATED_PIXELS / (height * width).max(1)).clamp(1, EVALUATED_TOGETHER)
}

/// What is to be measured of a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measuring {
    /// Images that are computed at a time.
    pub batch_size: usize,
    /// Whether logits are averaged over images and their mirror images.
    pub flips: bool,
    /// Whether the label is among so many largest logits.
    pub top_k: Option<usize>,
    /// Whether each class is told of.
    pub by_class: bool,
}

impl Session {
    /// The network's output for images. With `training`, batch norms use the batch's statistics and dropout drops; running statistics
    /// never change. Binds the input channels if they were not known. In f32, or in f64 from the f64 backend.
    ///
    /// # Errors
    /// `ERR_SHAPE` if the images do not fit the network.
    pub fn forward<V: Real>(&mut self, images: Images, training: bool) -> Result<Tensor<V>> {
        self.check_images(&images)?;
        if training {
            let mut execution = self.prepare(images.shape, &Mode::BATCH)?;
            execution.forward(images.into())?;
            return execution.output();
        }
        self.in_parts(images.into(), &Mode::EVAL, |execution, _| execution.output())
    }

    /// What a layer or stage (by its name in a summary, such as `layer4` or `layer1.0.conv2`) returns for images, with running
    /// statistics: embeddings. Of a stage that ends in a ReLU, what the ReLU gives. Without a name, what the last linear layer reads.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if there is no such layer; `ERR_SHAPE` if the images do not fit the network.
    pub fn features<V: Real>(&mut self, images: Images, layer: Option<&str>) -> Result<Tensor<V>> {
        self.check_images(&images)?;
        let layer = match layer {
            Some(layer) => layer.to_owned(),
            None => {
                let [_, channels, height, width] = images.shape;
                let trace = trace(self.network(), Shape::map(channels, height, width))?;
                let expected = "a name, for the network has no linear layer behind a layer with a name";
                let unnamed = || Error::expected(Code::InvalidArgument, "layer", expected, "none");
                trace.before_head().ok_or_else(unnamed)?.to_owned()
            }
        };
        let mode = Mode { retained: vec![layer], ..Mode::EVAL };
        self.in_parts(images.into(), &mode, |execution, _| Ok(execution.retained()?.remove(0)))
    }

    /// What a layer or stage returns for images, and the gradients of one class's logit (a class for each image) with respect to it, with
    /// running statistics: what Grad-CAM weighs its maps by (Selvaraju et al., 2017, <https://arxiv.org/abs/1610.02391>).
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if there is no such layer, or the logits do not depend on it; `ERR_SHAPE`, `ERR_LABEL` if images or
    /// classes do not fit the network.
    pub fn sensitivity<V: Real>(&mut self, images: Images, layer: &str, classes: &[u32]) -> Result<[Tensor<V>; 2]> {
        images.check()?;
        let gradients = Gradients::Value(layer.to_owned());
        let mode = Mode { retained: vec![layer.to_owned()], ..Mode::new(Statistics::Running, gradients) };
        let mut execution = self.prepare(images.shape, &mode)?;
        execution.check_labels(classes.into())?;
        execution.forward(images.into())?;
        let count = execution.output_shape().channels();
        let mut one_hot = allocate::zeros(classes.len() * count)?;
        for (row, &class) in one_hot.chunks_exact_mut(count).zip(classes) {
            row[class as usize] = 1.0;
        }
        execution.set_output_gradient(&one_hot)?;
        execution.backward()?;
        let gradient = execution
            .value_gradient()?
            .ok_or_else(|| Error::expected(Code::InvalidArgument, "layer", "one that the logits depend on", layer))?;
        Ok([execution.retained()?.remove(0), gradient])
    }

    /// Loss and accuracy over a data set.
    ///
    /// # Errors
    /// `ERR_SHAPE`, `ERR_LABEL` if the data do not fit the network, or their classes have other names than the network's.
    pub fn evaluate(&mut self, data: &Dataset, batch_size: usize) -> Result<Metrics> {
        self.check_data("images", data)?;
        self.check_names("data", data)?;
        let resident = self.resident(data)?;
        self.evaluate_resident(&resident, batch_size, None, |_, _, _| true)
    }

    /// What is asked for of a data set, beside the plain loss and accuracy.
    ///
    /// # Errors
    /// As [`Session::evaluate`]; `ERR_INVALID_ARGUMENT` if there are not so many classes as the k largest logits need, or too many to be
    /// told of one by one.
    pub fn measure(&mut self, data: &Dataset, measuring: &Measuring) -> Result<(Metrics, Report)> {
        let Measuring { batch_size, flips, top_k, by_class } = *measuring;
        self.check_data("images", data)?;
        self.check_names("data", data)?;
        let kind = data.labels().kind();
        let wanted = top_k.is_some() || by_class || kind == LabelKind::Multi;
        let mut tally = wanted.then(|| Tally::new(self.outputs(data)?, kind, top_k, by_class)).transpose()?;
        let metrics = match flips {
            true => self.evaluate_both_ways(data, batch_size, tally.as_mut())?,
            false => {
                let resident = self.resident(data)?;
                self.evaluate_resident(&resident, batch_size, tally.as_mut(), |_, _, _| true)?
            }
        };
        Ok((metrics, tally.map(|tally| tally.report(by_class)).unwrap_or_default()))
    }

    /// A data set, with its pixels where the session computes.
    pub(crate) fn resident(&self, data: &Dataset) -> Result<ResidentDataset> {
        ResidentDataset::new(self.executor(), data)
    }

    /// [`Session::evaluate`] over what [`Session::resident`] gave, after [`Session::check_data`]; with the plain loss. The `tally`
    /// gets all logits. `progress(done, total)` is called after
    /// each batch; if it returns false, the call ends with `ERR_ABORTED`.
    pub(crate) fn evaluate_resident(
        &mut self,
        resident: &ResidentDataset,
        batch_size: usize,
        tally: Option<&mut Tally>,
        progress: impl FnMut(&mut Self, usize, usize) -> bool,
    ) -> Result<Metrics> {
        let loader = resident.loader(batch_size, Order::Sequential, self.cancel())?;
        let mut metrics = Metrics::default();
        let (add, total) = (|outcome, count| metrics.add(outcome, count), resident.data().len());
        self.evaluate_batches(resident, loader, tally, add, (progress, total))?;
        Ok(metrics)
    }

    /// [`Session::evaluate_resident`] of one of so many shares of the batches; what was measured of each part that was computed together, to
    /// be added up in that order.
    pub(crate) fn evaluate_share(
        &mut self,
        resident: &ResidentDataset,
        batch_size: usize,
        (share, shares): (usize, usize),
        progress: impl FnMut(&mut Self, usize, usize) -> bool,
    ) -> Result<Vec<Metrics>> {
        let pass = DataPass::new(resident.data(), batch_size, Order::Sequential, false)?.cancelled_by(self.cancel());
        let (steps, len) = (pass.steps(), resident.data().len());
        let [first, end] = [share, share + 1].map(|share| steps * share / shares);
        let total = end.saturating_mul(batch_size).min(len) - first.saturating_mul(batch_size).min(len);
        let pass = pass.from_batch(first).limited_to(end);
        let (loader, mut parts) = (resident.loader_of(pass, None)?, Vec::new());
        let add = |outcome, count| {
            let mut metrics = Metrics::default();
            metrics.add(outcome, count);
            parts.push(metrics);
        };
        self.evaluate_batches(resident, loader, None, add, (progress, total))?;
        Ok(parts)
    }

    /// Evaluates the batches of a loader, of so many samples in all, part by part.
    fn evaluate_batches(
        &mut self,
        resident: &ResidentDataset,
        mut loader: Loader,
        mut tally: Option<&mut Tally>,
        mut add: impl FnMut(Outcome, usize),
        (mut progress, total): (impl FnMut(&mut Self, usize, usize) -> bool, usize),
    ) -> Result<()> {
        let (loss, mut done) = (Loss::default(), 0);
        while let Some(batch) = loader.next() {
            let batch = batch?;
            self.each_part(resident.input(batch), &Mode::EVAL, |execution, part| {
                let labels = batch.labels.all().part(part);
                add(execution.loss(loss.targets(labels, None))?, labels.len());
                match &mut tally {
                    Some(tally) => tally.add(&execution.output::<f32>()?.data, labels),
                    None => Ok(()),
                }
            })?;
            done += batch.shape[0];
            if !progress(self, done, total) {
                return Err(Error::new(Code::Aborted, "the evaluation was cancelled"));
            }
        }
        Ok(())
    }

    /// Refuses a data set whose images or labels do not fit the network; `parameter` is what the message calls its images.
    ///
    /// # Errors
    /// `ERR_SHAPE`, `ERR_LABEL`.
    pub(crate) fn check_data(&self, parameter: &str, data: &Dataset) -> Result<()> {
        let [channels, height, width] = data.image_shape();
        if let Some(expected) = self.in_channels().filter(|&expected| expected != channels) {
            return Err(Error::expected(Code::Shape, parameter, format!("{expected} channels"), channels));
        }
        let trace = trace(self.network(), Shape::map(channels, height, width))?;
        check_labels(trace.shapes[trace.output], data.len(), data.labels())
    }

    /// Refuses a loss that is not for the data set, or whose weights are not for the network's classes.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`.
    pub(crate) fn check_loss(&self, loss: &Loss, data: &Dataset) -> Result<()> {
        loss.check_labels(self.outputs(data)?, data.labels())
    }

    /// How many logits the network has of each image.
    fn outputs(&self, data: &Dataset) -> Result<usize> {
        let [channels, height, width] = data.image_shape();
        let trace = trace(self.network(), Shape::map(channels, height, width))?;
        Ok(trace.shapes[trace.output].channels())
    }

    /// Refuses a data set whose samples have another number of labels than the network's outputs mean, or whose classes are named
    /// otherwise than the network's, or stand in another order, where both have names.
    ///
    /// # Errors
    /// `ERR_LABEL`.
    pub(crate) fn check_names(&self, parameter: &str, data: &Dataset) -> Result<()> {
        let kind = data.labels().kind();
        if let Some(expected) = self.interface().label_kind.filter(|&expected| expected != kind) {
            let expected = format!("{}, as the model has been trained on", expected.told());
            return Err(Error::expected(Code::Label, parameter, expected, kind.told()));
        }
        let (Some(names), Some(found)) = (&self.interface().class_names, data.class_names()) else { return Ok(()) };
        match names.iter().zip(found).position(|(name, found)| name != found) {
            None => Ok(()),
            Some(class) => {
                let expected = format!("class {class} to be {:?}, as the model has it", names[class]);
                Err(Error::expected(Code::Label, parameter, expected, format!("{:?}", found[class])))
            }
        }
    }

    /// Refuses images that are none, and in a quantised network, whose bytes would hide them, numbers that are not finite.
    fn check_images(&self, images: &Images) -> Result<()> {
        images.check()?;
        let wrong = if self.is_quantized() { images.data.iter().position(|value| !value.is_finite()) } else { None };
        match wrong {
            None => Ok(()),
            Some(index) => {
                let got = named(images.data[index].into());
                Err(Error::expected(Code::InvalidArgument, &format!("images[{index}]"), "a finite number", got))
            }
        }
    }

    /// Runs images part by part, and joins what `read` gives for each.
    fn in_parts<V: Real>(
        &mut self,
        images: Input,
        mode: &Mode,
        mut read: impl FnMut(&mut Execution, Range<usize>) -> Result<Tensor<V>>,
    ) -> Result<Tensor<V>> {
        let (n, mut whole) = (images.shape[0], None);
        self.each_part(images, mode, |execution, part| {
            let tensor = read(execution, part)?;
            match &mut whole {
                None => whole = Some(tensor.with_room(n)?),
                Some(whole) => whole.append(&tensor),
            }
            Ok(())
        })?;
        Ok(whole.expect("there is an image"))
    }

    /// Runs images, on a CPU a few at a time, and calls `then` after each part; parts are as even as they can be.
    pub(crate) fn each_part(
        &mut self,
        images: Input,
        mode: &Mode,
        mut then: impl FnMut(&mut Execution, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let [n, channels, height, width] = images.shape;
        let together = evaluated_together(height, width);
        let parts = if self.device() == Device::Cpu { n.div_ceil(together) } else { 1 };
        for part in (0..parts).map(|part| n * part / parts..n * (part + 1) / parts) {
            let mut execution = self.prepare([n.div_ceil(parts), channels, height, width], mode)?;
            execution.forward(images.part(part.clone()))?;
            then(&mut execution, part)?;
        }
        Ok(())
    }
}
