//! Single updates from JavaScript.

use crate::actor::Actor;
use crate::error::raise;
use crate::labels::{labels_of, NativeMatrix};
use crate::options::{image_shape, NamedTensor, NamedTensors, NativeMetrics};
use crate::reply::{CancelFlag, Reply};
use napi::bindgen_prelude::{Either, Float32Array, PromiseRaw, Uint32Array};
use napi::Env;
use napi_derive::napi;
use resnet_core::data::Mixed;
use resnet_core::session::Images;
use resnet_core::tensor::copy_of;
use resnet_core::train::{Trainer, UpdateConfig};
use std::cell::Cell;
use std::sync::Arc;

/// Makes single updates of a model. What the optimiser keeps between them is with the model's thread.
#[napi]
pub struct NativeTrainer {
    actor: Arc<Actor>,
    number: usize,
    config: UpdateConfig,
    /// The learning rate of the steps that are asked for from now on.
    lr: Cell<f64>,
}

/// See [`Mixed`].
#[napi(object)]
pub struct GivenMixed {
    pub labels: Either<Uint32Array, NativeMatrix>,
    pub share: f64,
}

#[napi]
impl NativeTrainer {
    /// One update; resolves to loss and accuracy before it.
    #[napi]
    pub fn step<'env>(
        &self,
        env: &'env Env,
        images: Float32Array,
        shape: Vec<u32>,
        labels: Either<Uint32Array, NativeMatrix>,
        mixed: Option<GivenMixed>,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeMetrics>> {
        let shape = image_shape("images", &shape).map_err(raise)?;
        let writer = self.actor.writer().map_err(raise)?;
        // Copied now: JavaScript may write to its arrays while the step waits for its turn.
        let (images, labels) = (copy_of(&images).map_err(raise)?, labels_of(&labels).map_err(raise)?);
        let of = |GivenMixed { labels, share }| Ok(Mixed { labels: labels_of(&labels)?, share });
        let mixed = mixed.map(of).transpose().map_err(raise)?;
        let (reply, promise) = Reply::new(env)?;
        let (number, config, lr) = (self.number, self.config.clone(), self.lr.get());
        self.actor.call(reply, cancel.0.clone(), Some(writer), move |context| {
            let trainer = context.trainers.entry(number).or_insert_with(|| Trainer::new(config));
            labels.check("labels")?;
            mixed.as_ref().map_or(Ok(()), |mixed| mixed.labels.check("mixed.labels"))?;
            trainer.set_lr(lr);
            trainer.step_mixed(context.session, Images { data: &images, shape }, labels.all(), mixed.as_ref())
        });
        Ok(promise)
    }

    /// The learning rate of the steps that are asked for from now on.
    #[napi(getter)]
    pub fn lr(&self) -> f64 {
        self.lr.get()
    }

    /// Sets it.
    #[napi(setter)]
    pub fn set_lr(&self, lr: f64) {
        self.lr.set(lr);
    }

    /// The last step's gradients by state-dict name, but those of frozen parameters.
    #[napi]
    pub fn gradients<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Vec<NamedTensor>>> {
        let (reply, promise) = Reply::new(env)?;
        let number = self.number;
        self.actor.call(reply, CancelFlag::default().0, None, move |context| {
            let trainer = context.trainers.get(&number);
            trainer.map_or(Ok(Vec::new()), |trainer| trainer.gradients(context.session)).map(NamedTensors)
        });
        Ok(promise)
    }
}

impl NativeTrainer {
    /// The trainer with this number.
    pub fn new(actor: Arc<Actor>, number: usize, config: UpdateConfig) -> Self {
        let lr = Cell::new(config.optimizer.lr());
        Self { actor, number, config, lr }
    }
}

impl Drop for NativeTrainer {
    fn drop(&mut self) {
        let number = self.number;
        // A model that is gone has taken its trainers with it.
        let _ = self.actor.post(move |context, _| {
            if let Ok(context) = context {
                context.trainers.remove(&number);
            }
        });
    }
}
