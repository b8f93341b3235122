//! A model's thread: it owns the session and its trainers and serves one command after the other.

use crate::error::guarded;
use crate::memory::OutsideMemory;
use crate::reply::{spawn, Reply};
use napi::bindgen_prelude::ToNapiValue;
use resnet_core::cancel::{Cancel, CancelFlag};
use resnet_core::interface::Interface;
use resnet_core::train::Trainer;
use resnet_core::{Code, Error, Result, Session};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Trainers by number.
pub type Trainers = HashMap<usize, Trainer>;

/// What commands work with. A fit holds it while it runs, and lends it to readers between its steps.
pub struct Context<'a> {
    /// The network with its weights.
    pub session: &'a mut Session,
    /// The model's trainers.
    pub trainers: &'a mut Trainers,
}

/// Gets the context, or why there is none; and the inbox, so that a fit can serve what comes in.
type Command = Box<dyn FnOnce(Result<&mut Context>, &Inbox) + Send>;

/// The commands that are still to be served.
pub struct Inbox {
    commands: Receiver<Command>,
    shared: Arc<Shared>,
    /// Raised once the model is of no more use.
    pub closed: CancelFlag,
}

#[derive(Default)]
struct Shared {
    /// A writer (fit, step, loadWeights) is queued or at work.
    busy: AtomicBool,
    /// Disposed of, or retired after a panic.
    closed: CancelFlag,
    /// Channels of the input, 0 until they are known.
    in_channels: AtomicUsize,
    quantized: AtomicBool,
    interface: Mutex<Interface>,
    memory: Arc<OutsideMemory>,
}

/// The right to write, given back when dropped.
pub struct Writer(Arc<Shared>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// The handle of a model's thread. Dropping it stops what runs and ends the thread.
pub struct Actor {
    shared: Arc<Shared>,
    state: Mutex<ThreadState>,
}

/// Where a model's thread is in its life.
enum ThreadState {
    /// It starts with the first command, by making the session.
    Unstarted(Box<dyn FnOnce() -> Result<Session> + Send>),
    Running(Sender<Command>),
    Closed,
}

impl Actor {
    /// A handle whose thread will own the session that `init` makes.
    pub fn new(in_channels: Option<usize>, init: impl FnOnce() -> Result<Session> + Send + 'static) -> Arc<Self> {
        let shared = Shared { in_channels: in_channels.unwrap_or(0).into(), ..Shared::default() };
        Arc::new(Self { shared: shared.into(), state: Mutex::new(ThreadState::Unstarted(Box::new(init))) })
    }

    /// Channels of the input, once known.
    pub fn in_channels(&self) -> Option<usize> {
        Some(self.shared.in_channels.load(Ordering::Acquire)).filter(|&channels| channels > 0)
    }

    /// Whether the model is quantised.
    pub fn is_quantized(&self) -> bool {
        self.shared.quantized.load(Ordering::Acquire)
    }

    /// What pictures the model takes and what its outputs mean.
    pub fn interface(&self) -> Interface {
        self.shared.interface.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What V8 is told of the weights.
    pub fn memory(&self) -> Arc<OutsideMemory> {
        self.shared.memory.clone()
    }

    /// The right to write. `ERR_BUSY` if another call has it.
    pub fn writer(&self) -> Result<Writer> {
        if self.shared.closed.is_raised() {
            return Err(disposed());
        }
        if self.shared.busy.swap(true, Ordering::AcqRel) {
            let message = "model: expected one call at a time that changes it (fit, step, loadWeights, quantize), got another while one is under way";
            return Err(Error::new(Code::Busy, message));
        }
        Ok(Writer(self.shared.clone()))
    }

    /// Serves a call, between the steps of a fit if one runs, until the flag is raised or the model is closed. The writer, if there is one, is given back before the promise
    /// is settled; the reply says it too where nobody serves calls.
    pub fn call<T, V>(
        &self,
        reply: Reply<T>,
        cancel: CancelFlag,
        writer: Option<Writer>,
        body: impl FnOnce(&mut Context) -> Result<V> + Send + 'static,
    ) where
        T: ToNapiValue + 'static,
        V: Into<T> + Send + 'static,
    {
        let reply = reply.telling(self.memory());
        let sender = match self.sender() {
            Ok(sender) => sender,
            Err(error) => {
                drop(writer);
                return reply.settle(Err::<V, _>(error));
            }
        };
        let command: Command = Box::new(move |context, inbox| {
            let result = context.and_then(|context| {
                let cancel = Cancel::by([cancel, inbox.closed.clone()]);
                let result = guarded(|| cancel.check().and_then(|()| cancellable(context, cancel, body)));
                inbox.note(context.session, result.as_ref().err());
                result
            });
            drop(writer);
            reply.settle(result);
        });
        let _ = sender.send(command);
    }

    /// Puts a command into the inbox. `ERR_DISPOSED` if nobody serves it any more, `ERR_NO_THREAD` if the thread does not start.
    pub fn post(&self, command: impl FnOnce(Result<&mut Context>, &Inbox) + Send + 'static) -> Result<()> {
        self.sender()?.send(Box::new(command)).map_err(|_| disposed())
    }

    /// Where commands go; the first of them starts the thread.
    fn sender(&self) -> Result<Sender<Command>> {
        if self.shared.closed.is_raised() {
            return Err(disposed());
        }
        let mut state = self.state();
        let sender = match std::mem::replace(&mut *state, ThreadState::Closed) {
            ThreadState::Unstarted(init) => {
                let (sender, commands) = channel();
                let inbox = Inbox { commands, shared: self.shared.clone(), closed: self.shared.closed.clone() };
                if let Err((error, (_, init))) = spawn("resnet-model", (inbox, init), |(inbox, init)| inbox.serve(init))
                {
                    *state = ThreadState::Unstarted(init);
                    return Err(error);
                }
                sender
            }
            ThreadState::Running(sender) => sender,
            ThreadState::Closed => return Err(disposed()),
        };
        *state = ThreadState::Running(sender.clone());
        Ok(sender)
    }

    /// Stops what runs, ends the thread and frees its memory.
    pub fn close(&self) {
        self.shared.closed.raise();
        *self.state() = ThreadState::Closed;
    }

    fn state(&self) -> MutexGuard<'_, ThreadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inbox {
    /// The thread's body. Commands that are left when it ends are dropped with the inbox, which rejects their promises.
    fn serve(self, init: impl FnOnce() -> Result<Session>) {
        let mut session = guarded(init);
        let mut trainers = Trainers::new();
        while let Ok(command) = self.commands.recv() {
            match &mut session {
                Ok(session) => command(Ok(&mut Context { session, trainers: &mut trainers }), &self),
                Err(error) => command(Err(error.clone()), &self),
            }
            if self.closed.is_raised() {
                return;
            }
        }
    }

    /// Serves the commands that are there, then more of them while `wait` says so.
    pub fn serve_between_steps(&self, context: &mut Context, wait: impl Fn() -> bool) {
        self.note(context.session, None);
        while let Ok(command) = self.commands.try_recv() {
            command(Ok(context), self);
        }
        while wait() {
            match self.commands.recv() {
                Ok(command) => command(Ok(context), self),
                Err(_) => return,
            }
        }
    }

    /// After a command: what the network now knows, and that it cannot be trusted after a defect.
    pub fn note(&self, session: &Session, error: Option<&Error>) {
        if error.is_some_and(|error| error.code == Code::Internal) {
            self.closed.raise();
        } else if let Some(channels) = session.in_channels() {
            self.shared.in_channels.store(channels, Ordering::Release);
        }
        self.shared.quantized.store(session.is_quantized(), Ordering::Release);
        let mut known = self.shared.interface.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != *session.interface() {
            *known = session.interface().clone();
        }
        self.shared.memory.set(session.bytes());
    }
}

/// Does something that these flags end, maybe within a call that others end.
pub fn cancellable<V>(
    context: &mut Context,
    cancel: Cancel,
    body: impl FnOnce(&mut Context) -> Result<V>,
) -> Result<V> {
    let outer = context.session.cancelled_by(cancel);
    let result = body(context);
    context.session.cancelled_by(outer);
    result
}

/// The error of a call that comes too late.
pub fn disposed() -> Error {
    Error::new(Code::Disposed, "model: expected one in use, got one that was disposed of or has failed")
}
