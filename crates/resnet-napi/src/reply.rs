//! Promises that are settled from other threads.

use crate::error::{guarded, raise};
use crate::memory::OutsideMemory;
use napi::bindgen_prelude::{PromiseRaw, ToNapiValue};
use napi::{Env, JsDeferred, JsValue};
use resnet_core::{cancel, Code, Error, Result};
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread;

type Resolver<T> = Box<dyn FnOnce(Env) -> napi::Result<T> + Send>;

/// The promise of a call that another thread serves. It keeps the process alive until it is settled; where the
/// JavaScript environment is gone, settling does nothing.
pub struct Reply<T: ToNapiValue> {
    deferred: Option<JsDeferred<T, Resolver<T>>>,
    /// What is told to V8 when the promise is settled.
    memory: Option<Arc<OutsideMemory>>,
}

impl<T: ToNapiValue + 'static> Reply<T> {
    /// A pending promise and its end on this side.
    pub fn new(env: &Env) -> napi::Result<(Self, PromiseRaw<'_, T>)> {
        let (deferred, promise) = env.create_deferred()?;
        Ok((Self { deferred: Some(deferred), memory: None }, PromiseRaw::new(env.raw(), promise.raw())))
    }

    /// The same, after which V8 knows what memory a model has.
    pub fn telling(self, memory: Arc<OutsideMemory>) -> Self {
        let mut reply = self;
        reply.memory = Some(memory);
        reply
    }

    /// Settles the promise; the value is converted on the JavaScript thread.
    pub fn settle<V: Into<T> + Send + 'static>(mut self, result: Result<V>) {
        let Some(deferred) = self.deferred.take() else { return };
        let memory = self.memory.take();
        match result {
            Ok(value) => deferred.resolve(Box::new(move |env| {
                if let Some(memory) = memory {
                    memory.tell(&env);
                }
                Ok(value.into())
            })),
            Err(error) => deferred.reject(raise(error)),
        }
    }
}

/// A call that is thrown away unserved must not leave its caller waiting.
impl<T: ToNapiValue> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(deferred) = self.deferred.take() {
            let message = "the object was disposed of before the call was served";
            deferred.reject(raise(Error::new(Code::Disposed, message)));
        }
    }
}

/// Serves one call on a thread of its own; `ERR_NO_THREAD` if it does not start.
pub fn on_thread<'env, T, V>(
    env: &'env Env,
    body: impl FnOnce() -> Result<V> + Send + 'static,
) -> napi::Result<PromiseRaw<'env, T>>
where
    T: ToNapiValue + 'static,
    V: Into<T> + Send + 'static,
{
    let (reply, promise) = Reply::new(env)?;
    if let Err((error, reply)) = spawn("resnet-data", reply, |reply: Reply<T>| reply.settle(guarded(body))) {
        reply.settle(Err::<V, _>(error));
    }
    Ok(promise)
}

/// Starts a thread with a stack that deep networks fit in, and gives it what it works with. If the system does not start it, that comes
/// back with `ERR_NO_THREAD`: it may start another time.
pub fn spawn<S: Send + 'static>(
    name: &str,
    state: S,
    body: impl FnOnce(S) + Send + 'static,
) -> std::result::Result<(), (Error, S)> {
    const STACK: usize = 16 << 20;
    // It follows once the thread runs: a thread that does not start would take it along.
    let (sender, states) = channel::<S>();
    let serve = move || {
        if let Ok(state) = states.recv() {
            body(state);
        }
    };
    match thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(serve) {
        Ok(_) => sender.send(state).map_err(|lost| (Error::new(Code::Internal, "a thread ended at once"), lost.0)),
        Err(error) => Err((Error::no_thread(&error), state)),
    }
}

/// Tells a call on another thread to stop.
#[napi_derive::napi]
#[derive(Clone, Default)]
pub struct CancelFlag(pub(crate) cancel::CancelFlag);

#[napi_derive::napi]
impl CancelFlag {
    /// A flag that is not raised.
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag.
    #[napi]
    pub fn cancel(&self) {
        self.0.raise();
    }
}
