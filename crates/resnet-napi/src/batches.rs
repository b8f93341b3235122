//! Batches of a data set for loops of JavaScript's own.

use crate::error::guarded;
use crate::options::NativeTensor;
use crate::reply::{spawn, Reply};
use napi::bindgen_prelude::{PromiseRaw, Uint32Array};
use napi::Env;
use napi_derive::napi;
use resnet_core::data::{Batch, DataPass, Dataset, Order};
use resnet_core::session::Tensor;
use resnet_core::Result;
use std::collections::VecDeque;
use std::sync::mpsc::{channel, Receiver, Sender, TryRecvError};

/// Batches that are prefetched before they are asked for.
const PREFETCHED: usize = 2;

/// One pass over a data set.
#[napi]
pub struct NativeBatches(PassState);

/// How far a pass is.
enum PassState {
    /// Nothing was asked for yet.
    Waiting(DataPass),
    /// A thread serves the requests; it ends when this end of the channel is gone.
    Serving(Sender<Request>),
    Closed,
}

type Request = Reply<Option<NativeBatch>>;

/// Some images with their labels.
#[napi(object)]
pub struct NativeBatch {
    pub images: NativeTensor,
    pub labels: Uint32Array,
}

/// See [`DataPass::new`].
#[napi(object)]
pub struct BatchOptions {
    pub batch_size: u32,
    /// Seed of the order; the data's own order if absent.
    pub shuffle: Option<i64>,
    pub drop_last: bool,
}

#[napi]
impl NativeBatches {
    /// The next batch; null after the last one. The first call starts the thread that prefetches them; `ERR_NO_THREAD`
    /// if it does not start.
    #[napi]
    pub fn next<'env>(&mut self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Option<NativeBatch>>> {
        let (reply, promise) = Reply::new(env)?;
        self.0 = match std::mem::replace(&mut self.0, PassState::Closed) {
            PassState::Waiting(pass) => {
                let (sender, requests) = channel();
                let started = spawn("resnet-loader", (pass, requests), |(pass, requests)| serve(pass, &requests));
                if let Err((error, (pass, _))) = started {
                    self.0 = PassState::Waiting(pass);
                    reply.settle(Err::<NextBatch, _>(error));
                    return Ok(promise);
                }
                PassState::Serving(sender)
            }
            other => other,
        };
        match &self.0 {
            PassState::Serving(sender) => drop(sender.send(reply)),
            PassState::Waiting(_) | PassState::Closed => reply.settle(Ok(NextBatch(None))),
        }
        Ok(promise)
    }

    /// Ends the pass, and its thread after the batch at work.
    #[napi]
    pub fn close(&mut self) {
        self.0 = PassState::Closed;
    }
}

impl NativeBatches {
    /// A pass that has not begun. `ERR_INVALID_ARGUMENT` if there would be no batch.
    pub fn new(data: &Dataset, options: &BatchOptions) -> Result<Self> {
        let order = match options.shuffle {
            Some(seed) => Order::Shuffled { seed: seed as u64, epoch: 1 },
            None => Order::Sequential,
        };
        let pass = DataPass::new(data, options.batch_size as usize, order, options.drop_last)?;
        Ok(Self(PassState::Waiting(pass)))
    }
}

/// The thread's body: a request goes before prefetching.
fn serve(mut pass: DataPass, requests: &Receiver<Request>) {
    let mut ready = VecDeque::with_capacity(PREFETCHED);
    let mut ended = false;
    let mut prepare = || {
        let next = if ended { Ok(None) } else { guarded(|| next(&mut pass)) };
        ended = !matches!(next, Ok(Some(_)));
        next
    };
    loop {
        let request = match ready.len() {
            PREFETCHED => requests.recv().map_err(|_| TryRecvError::Disconnected),
            _ => requests.try_recv(),
        };
        match request {
            Ok(reply) => reply.settle(ready.pop_front().unwrap_or_else(&mut prepare).map(NextBatch)),
            Err(TryRecvError::Empty) => ready.push_back(prepare()),
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

/// The next batch in memory of its own, which JavaScript takes over.
fn next(pass: &mut DataPass) -> Result<Option<Batch>> {
    let mut batch = Batch::default();
    Ok(pass.fill(&mut batch)?.then_some(batch))
}

struct NextBatch(Option<Batch>);

impl From<NextBatch> for Option<NativeBatch> {
    fn from(NextBatch(batch): NextBatch) -> Self {
        batch.map(|Batch { images, labels, shape, .. }| NativeBatch {
            images: Tensor { data: images, shape: shape.into() }.into(),
            labels: labels.into(),
        })
    }
}
