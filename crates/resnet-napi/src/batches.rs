//! Batches of a data set for loops of JavaScript's own.

use crate::error::guarded;
use crate::labels::labels_to_js;
use crate::options::NativeTensor;
use crate::reply::{spawn, Reply};
use napi::bindgen_prelude::{Either, PromiseRaw, Uint32Array, Uint8Array};
use napi::Env;
use napi_derive::napi;
use resnet_core::data::{Augment, Batch, DataPass, Dataset, Loader, Mixed, Order};
use resnet_core::session::Tensor;
use resnet_core::Result;
use std::collections::VecDeque;
use std::sync::mpsc::{channel, Receiver, Sender, TryRecvError};
use std::sync::Arc;

/// Batches that are prefetched before they are asked for.
const PREFETCHED: usize = 2;

/// One pass over a data set.
#[napi]
pub struct NativeBatches(PassState);

/// How far a pass is.
enum PassState {
    /// Nothing was asked for yet; on how many threads it will be prepared.
    Unasked(Box<DataPass>, usize),
    /// A thread serves the requests; it ends when this end of the channel is gone.
    Serving(Sender<Request>),
    Closed,
}

type Request = Reply<Option<NativeBatch>>;

/// Some images with their labels.
#[napi(object)]
pub struct NativeBatch {
    pub images: NativeTensor,
    pub labels: Either<Uint32Array, Uint8Array>,
    /// Where they stand in the data set.
    pub indices: Uint32Array,
    /// Labels of the images that were mixed in, and the share of the images' own.
    pub mixed: Option<NativeMixed>,
}

/// See [`resnet_core::data::Mixed`].
#[napi(object)]
pub struct NativeMixed {
    pub labels: Either<Uint32Array, Uint8Array>,
    pub share: f64,
}

/// See [`DataPass::new`].
#[napi(object)]
pub struct BatchOptions {
    pub batch_size: u32,
    /// Whether in the seed's order; the data's own if not.
    pub shuffle: bool,
    /// See [`Order::Balanced`].
    pub balance: Option<f64>,
    pub drop_last: bool,
    /// See [`Augment::from_json`].
    pub augment: String,
    /// Of order and augmentations.
    pub seed: i64,
    pub epoch: u32,
    pub loader_threads: Option<u32>,
}

#[napi]
impl NativeBatches {
    /// The next batch; null after the last one. The first call starts the thread that prefetches them; `ERR_NO_THREAD`
    /// if it does not start.
    #[napi]
    pub fn next<'env>(&mut self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Option<NativeBatch>>> {
        let (reply, promise) = Reply::new(env)?;
        self.0 = match std::mem::replace(&mut self.0, PassState::Closed) {
            PassState::Unasked(pass, threads) => {
                let (sender, requests) = channel();
                let body = move |(pass, requests): (Box<DataPass>, Receiver<Request>)| serve(*pass, threads, &requests);
                let started = spawn("resnet-loader", (pass, requests), body);
                if let Err((error, (pass, _))) = started {
                    self.0 = PassState::Unasked(pass, threads);
                    reply.settle(Err::<NextBatch, _>(error));
                    return Ok(promise);
                }
                PassState::Serving(sender)
            }
            other => other,
        };
        match &self.0 {
            PassState::Serving(sender) => drop(sender.send(reply)),
            PassState::Unasked(..) | PassState::Closed => reply.settle(Ok(NextBatch(None))),
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
        let (pass, threads) = pass_of(data, options)?;
        Ok(Self(PassState::Unasked(pass.into(), threads)))
    }
}

/// The pass that the options describe, and on how many threads it is to be prepared.
pub fn pass_of(data: &Dataset, options: &BatchOptions) -> Result<(DataPass, usize)> {
    let (seed, epoch) = (options.seed as u64, u64::from(options.epoch));
    let order = match (options.balance, options.shuffle) {
        (Some(power), _) => Order::Balanced { seed, epoch, power },
        (None, true) => Order::Shuffled { seed, epoch },
        (None, false) => Order::Sequential,
    };
    let augment = Augment::from_json(&options.augment)?;
    let pass = DataPass::new(data, options.batch_size as usize, order, options.drop_last)?;
    let pass = pass.augmented(&Arc::new(augment), seed, epoch)?;
    let threads = options.loader_threads.map_or(pass.usual_threads(), |threads| threads as usize);
    Ok((pass, threads))
}

/// The thread's body: a request goes before prefetching. With more than one thread the loader has its own, and this one hands on.
fn serve(mut pass: DataPass, threads: usize, requests: &Receiver<Request>) {
    if threads <= 1 {
        return serve_from(|| next(&mut pass), requests);
    }
    let mut loader = Loader::new(pass, threads);
    serve_from(
        || match &mut loader {
            Ok(loader) => loader.next_owned().transpose(),
            Err(error) => Err(error.clone()),
        },
        requests,
    );
}

fn serve_from(mut next: impl FnMut() -> Result<Option<Batch>>, requests: &Receiver<Request>) {
    let mut ready = VecDeque::with_capacity(PREFETCHED);
    let mut ended = false;
    let mut prepare = || {
        let next = if ended { Ok(None) } else { guarded(&mut next) };
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
        batch.map(|Batch { images, labels, shape, indices, mixed, shards: _ }| NativeBatch {
            images: Tensor { data: images, shape: shape.into() }.into(),
            labels: labels_to_js(labels),
            indices: indices.into(),
            mixed: mixed.map(|Mixed { labels, share }| NativeMixed { labels: labels_to_js(labels), share }),
        })
    }
}
