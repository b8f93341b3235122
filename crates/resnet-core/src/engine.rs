//! Computes a network's output, its loss and its gradients: the backend, the plans that have been made for it, and their storage.

mod sharded;

pub use sharded::ShardedExecution;

use crate::cancel::Cancel;
use crate::data::{Input, LabelsRef};
use crate::error::{Code, Error, Result};
use crate::model::params::Params;
use crate::model::shape::Shape;
use crate::model::Layer;
use crate::plan::{List, Mode, Observer, Operating, Plan, Slots};
use crate::tensor::Tensor;
use crate::weights::Weights;
use resnet_ops::{binary_cross_entropy, cross_entropy, layout, Buffer, Executor, Outcome, Real};
use sharded::ShardRoom;
use std::collections::HashMap;

/// A backend with the plans of one network.
pub struct Engine {
    executor: Executor,
    slots: Slots,
    /// At most one plan for each mode, and one for all that name values.
    plans: HashMap<Mode, Plan>,
    sharded: ShardRoom,
}

/// A network whose input channels are known, as an engine needs it.
pub struct BoundNetwork<'a> {
    /// Its layers.
    pub network: &'a Layer,
    /// Its parameters.
    pub params: &'a Params,
    /// Their values.
    pub weights: &'a mut Weights,
    /// What this step's dropout masks are drawn from.
    pub dropout_seed: u64,
    /// What ends an execution early.
    pub cancel: &'a Cancel,
}

/// What a batch's output is held against.
pub enum Targets<'a> {
    /// A class for each image.
    Classes(cross_entropy::Targets<'a>),
    /// Any number of classes for each image.
    Sets(binary_cross_entropy::Targets<'a>),
}

impl Targets<'_> {
    /// Loss and hits of logits (N, classes) in the executor's layout, whose gradient may be asked for.
    ///
    /// # Errors
    /// If labels do not fit the classes, which is to be checked before; if the device fails.
    pub fn evaluate(
        self,
        executor: &Executor,
        classes: usize,
        logits: &Buffer,
        gradient: Option<&mut Buffer>,
    ) -> Result<Outcome> {
        Ok(match self {
            Self::Classes(targets) => cross_entropy::evaluate(executor, classes, logits, targets, gradient)?,
            Self::Sets(targets) => binary_cross_entropy::evaluate(executor, classes, logits, targets, gradient)?,
        })
    }

    /// What the sum of the samples' losses is divided by to be their mean; the labels have been checked.
    pub fn weight(&self, samples: usize) -> f64 {
        match self {
            Self::Classes(targets) => targets.weight(),
            Self::Sets(_) => samples as f64,
        }
    }

    /// The same as a part of a batch whose samples have this weight.
    pub fn of_whole(self, weight: f64) -> Self {
        match self {
            Self::Classes(targets) => Self::Classes(cross_entropy::Targets { whole: Some(weight), ..targets }),
            Self::Sets(targets) => Self::Sets(binary_cross_entropy::Targets { whole: Some(weight), ..targets }),
        }
    }

    /// Loss and hits of logits that no plan has computed, in f64.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`.
    pub fn evaluate_plainly(self, classes: usize, logits: &[f32]) -> Result<Outcome> {
        let executor = Executor::ReferenceF64;
        let logits = executor.upload(executor.dtype(), logits)?;
        self.evaluate(&executor, classes, &logits, None)
    }
}

/// A batch that has been prepared for, whole or as the shards of it that are on this rank: what a training step calls, in the step's order.
pub trait BatchExecution {
    /// Refuses batches of `n` images that leave a batch norm one value for a channel, which has no variance to divide by.
    ///
    /// # Errors
    /// `ERR_SHAPE`.
    fn check_norms(&self, n: usize) -> Result<()>;

    /// What an optimiser needs: the backend, the ranges of parameters, the weights with their gradients.
    fn parts(&mut self) -> (&Executor, &Params, &mut Weights);

    /// Computes the output for as many images as were prepared for, or fewer; of shards, this rank's follow each other.
    ///
    /// # Errors
    /// `ERR_ABORTED` if the call was cancelled, which one on shards cannot be; if the device fails; if another rank is lost or has failed.
    fn forward(&mut self, images: Input) -> Result<()>;

    /// See [`Weights::check_updated`].
    ///
    /// # Errors
    /// `ERR_NON_FINITE_WEIGHTS`; if the device fails.
    fn check_updated(&mut self) -> Result<()> {
        let (_, params, weights) = self.parts();
        weights.check_updated(params)
    }

    /// Computes the gradients that the plan is for, from the output's; the same on all ranks.
    ///
    /// # Errors
    /// As [`BatchExecution::forward`].
    fn backward(&mut self) -> Result<()>;

    /// Has the running statistics take in the batch's, also if the call was cancelled.
    ///
    /// # Errors
    /// If the device fails; if another rank is lost or has failed.
    fn update_statistics(&mut self) -> Result<()>;

    /// Says that since the forward pass nothing has changed the weights but a step of this mode, which leaves what is frozen, and so all that
    /// was packed of it, as it is.
    fn keep_packed(&mut self);
}

/// A plan with its storage, ready for batches of up to as many images as were prepared for.
pub struct Execution<'a> {
    plan: &'a Plan,
    slots: &'a mut Slots,
    params: &'a Params,
    with: Operating<'a>,
}

impl Engine {
    /// Nothing is planned yet.
    pub fn new(executor: Executor) -> Self {
        Self { executor, slots: Slots::default(), plans: HashMap::new(), sharded: ShardRoom::default() }
    }

    /// Lets go of all plans, for weights that have nothing to do with those so far.
    pub fn forget(&mut self) {
        self.plans.clear();
        self.slots.forget();
        self.sharded = ShardRoom::default();
    }

    /// The memory that plans work in, in bytes.
    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.sharded.bytes()
    }

    /// The backend.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Makes ready for batches of up to N images (N, C, H, W) of this shape: a plan of the mode, and room for it. The network and its
    /// weights are the same for as long as the engine lives, since plans keep what was made of them.
    ///
    /// # Errors
    /// `ERR_SHAPE` if the network does not fit the images; `ERR_INVALID_ARGUMENT` if the mode names a layer that is none;
    /// `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
    pub fn prepare<'a>(&'a mut self, bound: BoundNetwork<'a>, shape: [usize; 4], mode: &Mode) -> Result<Execution<'a>> {
        let Self { executor, slots, plans, sharded: _ } = self;
        let BoundNetwork { network, params, weights, dropout_seed, cancel } = bound;
        let ([n, channels, height, width], executor) = (shape, &*executor);
        let input = Shape::map(channels, height, width);
        if !plans.get(mode).is_some_and(|plan| plan.fits(input, n)) {
            // What is replaced goes first: its successor may need the room. Of plans that name values one is kept.
            let before = plans.len();
            plans.retain(|other, _| other != mode && !(other.names_values() && mode.names_values()));
            if plans.len() < before {
                slots.forget();
            }
            plans.insert(mode.clone(), Plan::new(executor, network, params, input, n, mode.clone())?);
        }
        let plan = &plans[mode];
        // Each time: another plan may have failed to get its room, and taken some of this one's.
        plan.reserve(executor, slots, cancel)?;
        if mode.trains() {
            weights.reserve_gradients(executor)?;
        }
        Ok(Execution { plan, slots, params, with: Operating { executor, weights, n, dropout_seed, cancel } })
    }

    /// The storage of its plans.
    #[cfg(test)]
    pub fn slots(&mut self) -> &mut Slots {
        &mut self.slots
    }

    /// Makes room for a plan that is not run.
    #[cfg(test)]
    pub fn reserve(&mut self, plan: &Plan) -> Result<()> {
        plan.reserve(&self.executor, &mut self.slots, &Cancel::default())
    }
}

impl BatchExecution for Execution<'_> {
    fn check_norms(&self, n: usize) -> Result<()> {
        check_norms(self.plan, n)
    }

    fn parts(&mut self) -> (&Executor, &Params, &mut Weights) {
        (self.with.executor, self.params, self.with.weights)
    }

    fn forward(&mut self, images: Input) -> Result<()> {
        self.begin(images)?;
        self.run(List::Forward)
    }

    fn backward(&mut self) -> Result<()> {
        self.run(List::Backward)
    }

    fn update_statistics(&mut self) -> Result<()> {
        self.with.weights.version += 1;
        Ok(self.plan.run(List::Statistics, self.slots, &mut self.with)?)
    }

    fn keep_packed(&mut self) {
        self.plan.keep_packed(self.slots, self.with.weights.version);
    }
}

impl Execution<'_> {
    /// [`BatchExecution::forward`]; before each convolution `observer` gets what it reads.
    ///
    /// # Errors
    /// `ERR_ABORTED` if the call was cancelled; if the device fails.
    pub fn forward_observed(&mut self, images: Input, observer: &mut Observer) -> Result<()> {
        self.begin(images)?;
        self.plan.run_observed(self.slots, &mut self.with, observer)?;
        self.with.cancel.check()
    }

    /// Packs weights and takes images in.
    fn begin(&mut self, images: Input) -> Result<()> {
        self.with.n = images.shape[0];
        self.plan.pack(self.slots, &mut self.with)?;
        Ok(images.write(self.with.executor, &mut self.plan.images(self.slots))?)
    }

    /// Loss and hits of the output. In a plan with gradients it writes the output's gradient too, that of the mean loss.
    ///
    /// # Errors
    /// If labels do not fit the network's classes, which is to be checked before; if the device fails.
    pub fn loss(&mut self, targets: Targets) -> Result<Outcome> {
        let (plan, slots, classes) = (self.plan, &*self.slots, self.output_shape().channels());
        let mut gradient = plan.logits_gradient(slots);
        let logits = plan.logits(slots);
        targets.evaluate(self.with.executor, classes, &logits, gradient.as_deref_mut())
    }

    /// Takes these values (N, classes) as the output's gradient, in place of the loss's.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_output_gradient(&mut self, gradient: &[f32]) -> Result<()> {
        let executor = self.with.executor;
        let source = executor.upload(executor.parameter_dtype(), gradient)?;
        let sizes = self.sizes(self.output_shape());
        let target = self.plan.logits_gradient(self.slots);
        let mut target = target.ok_or_else(|| Error::new(Code::Internal, "a plan without gradients"))?;
        Ok(layout::from_nchw(executor, sizes, &source, &mut target)?)
    }

    /// The output, (N, classes) or whatever the network returns; before [`BatchExecution::backward`], which may use its storage.
    ///
    /// # Errors
    /// If the device fails.
    pub fn output<V: Real>(&self) -> Result<Tensor<V>> {
        self.read(&self.plan.logits(self.slots), self.output_shape())
    }

    /// The values that the mode retains, in its order.
    ///
    /// # Errors
    /// If the device fails.
    pub fn retained<V: Real>(&self) -> Result<Vec<Tensor<V>>> {
        self.plan.retained(self.slots).map(|(value, shape)| self.read(&value, shape)).collect()
    }

    /// The gradient of the value that the mode names, after [`BatchExecution::backward`]; none if the output does not depend on it.
    ///
    /// # Errors
    /// If the device fails.
    pub fn value_gradient<V: Real>(&self) -> Result<Option<Tensor<V>>> {
        self.plan.value_gradient(self.slots).map(|(gradient, shape)| self.read(&gradient, shape)).transpose()
    }

    /// Shape of the output.
    pub fn output_shape(&self) -> Shape {
        self.plan.output()
    }

    /// Refuses labels if there is not one for each image of the batch that was prepared for, below the network's classes.
    ///
    /// # Errors
    /// `ERR_SHAPE`, `ERR_LABEL`.
    pub fn check_labels(&self, labels: LabelsRef) -> Result<()> {
        check_labels(self.output_shape(), self.with.n, labels)
    }

    fn run(&mut self, list: List) -> Result<()> {
        self.plan.run(list, self.slots, &mut self.with)?;
        self.with.cancel.check()
    }

    fn read<V: Real>(&self, value: &Buffer, shape: Shape) -> Result<Tensor<V>> {
        let (executor, sizes) = (self.with.executor, self.sizes(shape));
        let mut target = executor.zeros(executor.parameter_dtype(), sizes.iter().product())?;
        layout::to_nchw(executor, sizes, value, &mut target)?;
        Ok(Tensor { data: target.read(0..target.len())?, shape: shape.with_batch(self.with.n) })
    }

    /// (N, C, H, W) of a value.
    fn sizes(&self, shape: Shape) -> [usize; 4] {
        let [h, w] = shape.size();
        [self.with.n, shape.channels(), h, w]
    }
}

/// See [`BatchExecution::check_norms`].
fn check_norms(plan: &Plan, n: usize) -> Result<()> {
    match plan.smallest_batch_norm() {
        Some(pixels) if n * pixels < 2 => {
            let expected = "more than one value per channel in training (a larger batch or larger images)";
            let given = format!("{n} image of {pixels} pixel at a batch norm");
            Err(Error::expected(Code::Shape, "batch", expected, given))
        }
        Some(_) | None => Ok(()),
    }
}

/// There must be a label for each image, one of the network's classes, or one for each of them.
///
/// # Errors
/// `ERR_SHAPE`, `ERR_LABEL`.
pub fn check_labels(output: Shape, n: usize, labels: LabelsRef) -> Result<()> {
    let Shape::Features(classes) = output else {
        return Err(Error::expected(Code::Shape, "network", "logits (N, classes) to compare with labels", output));
    };
    if labels.len() != n {
        return Err(Error::expected(Code::Shape, "labels", format!("one for each of {n} images"), labels.len()));
    }
    let labels = match labels {
        LabelsRef::Single(labels) => labels,
        LabelsRef::Multi { classes: found, .. } if found == classes => return Ok(()),
        LabelsRef::Multi { classes: found, .. } => {
            let expected = format!("one for each of the network's {classes} classes and each sample");
            return Err(Error::expected(Code::Shape, "labels", expected, format!("{found} for each sample")));
        }
    };
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(index) => {
            let expected = format!("labels below the network's {classes} classes");
            Err(Error::expected(Code::Label, "labels", expected, format!("{} at index {index}", labels[index])))
        }
        None => Ok(()),
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod cudnn_plans;
#[cfg(test)]
mod tests;
