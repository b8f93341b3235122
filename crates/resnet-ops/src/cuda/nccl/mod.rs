//! What GPUs of several processes exchange, by NCCL. It moves bytes: nothing is added up by it.
//!
//! No call waits for another rank for good: a communicator does not block, and what it has been asked for is looked at until it is done,
//! fails or takes too long. Then it is aborted, which ends its kernels on the GPU too.

mod library;

use super::memory::Stream;
use super::Cuda;
use crate::accumulate::accumulate;
use crate::{Buffer, DType, DeviceError, Executor};
use candle_core::{bail, Result};
use library::{Config, Handle, Library, UniqueId};
use std::ffi::{c_int, c_void, CStr};
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SUCCESS: c_int = 0;
/// Another rank has failed or is gone.
const REMOTE_ERROR: c_int = 6;
const IN_PROGRESS: c_int = 7;
/// As NCCL numbers types.
const FLOAT: c_int = 7;
/// How long an exchange is looked at without a pause.
const EAGER: Duration = Duration::from_millis(1);
/// A pause.
const PAUSE: Duration = Duration::from_micros(50);
/// Between two looks whether another rank has said that it fails, of which NCCL may tell nothing.
const HEED: Duration = Duration::from_millis(5);
/// How long NCCL's word that another rank has failed waits for that rank's own, which says why.
const HEARSAY: Duration = Duration::from_secs(2);

/// A GPU's place among those of all ranks, which all make the same calls in the same order. An error leaves nothing that can be called.
pub struct NcclCommunicator {
    library: &'static Library,
    /// Null when it has been aborted.
    handle: Handle,
    stream: Arc<Stream>,
    ranks: usize,
    rank: usize,
    limit: Duration,
}

/// Something that is waited for.
struct Wait<'a> {
    what: &'a str,
    began: Instant,
    /// When `has_failed` was asked last.
    heeded: Instant,
    /// Says whether another rank has failed.
    has_failed: &'a mut dyn FnMut() -> bool,
}

impl<'a> Wait<'a> {
    fn of(what: &'a str, has_failed: &'a mut dyn FnMut() -> bool) -> Self {
        let began = Instant::now();
        Self { what, began, heeded: began, has_failed }
    }
}

// SAFETY: one thread at a time calls it, and each call makes the GPU's context current.
unsafe impl Send for NcclCommunicator {}

fn found() -> Result<&'static Library> {
    Library::find().map_err(|why| DeviceError::Nccl(why).into())
}

fn failed(library: &Library, handle: Handle, what: &str, code: c_int) -> candle_core::Error {
    // SAFETY: the texts are the library's, and stay until its next call.
    let [name, reason] = unsafe { [(library.error_string)(code), (library.last_error)(handle)] }
        // SAFETY: as above; null stands for none.
        .map(|text| if text.is_null() { "".into() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy() });
    let reason = if reason.trim().is_empty() { String::new() } else { format!(", {}", reason.trim()) };
    DeviceError::Nccl(format!("NCCL failed ({what}): {name}{reason}")).into()
}

impl NcclCommunicator {
    /// Bytes by which ranks find each other.
    pub const ID: usize = 128;

    /// NCCL's version: major, minor, patch.
    ///
    /// # Errors
    /// [`DeviceError::Nccl`] if there is none that can be used: the message says what to install.
    pub fn version() -> Result<[usize; 3]> {
        Ok(found()?.version)
    }

    /// What ranks find each other by: one of them makes it for all.
    ///
    /// # Errors
    /// As for [`NcclCommunicator::version`]; if NCCL fails.
    pub fn unique_id() -> Result<[u8; Self::ID]> {
        let (library, mut id) = (found()?, UniqueId([0; Self::ID]));
        // SAFETY: writes the id.
        match unsafe { (library.get_unique_id)(&mut id) } {
            SUCCESS => Ok(id.0),
            code => Err(failed(library, null_mut(), "id", code)),
        }
    }

    /// Joins as one of so many ranks, for which this call, and each exchange later, waits so long, or until `has_failed` says that another
    /// rank has.
    ///
    /// # Errors
    /// [`DeviceError::Nccl`] if NCCL is missing or fails, or a rank fails or does not come; if the executor is none of a GPU.
    pub fn join(
        executor: &Executor,
        id: [u8; Self::ID],
        ranks: usize,
        rank: usize,
        limit: Duration,
        has_failed: &mut dyn FnMut() -> bool,
    ) -> Result<Self> {
        let Executor::Cuda(cuda) = executor else { bail!("expected a GPU to join others") };
        Self::join_by(found()?, cuda, id, ranks, rank, limit, has_failed)
    }

    fn join_by(
        library: &'static Library,
        cuda: &Cuda,
        id: [u8; 128],
        ranks: usize,
        rank: usize,
        limit: Duration,
        has_failed: &mut dyn FnMut() -> bool,
    ) -> Result<Self> {
        let stream = cuda.stream.clone();
        // Makes the context current, on whose GPU the communicator is made.
        stream.device.stream()?;
        let mut this = Self { library, handle: null_mut(), stream, ranks, rank, limit };
        let (mut wait, mut config) = (Wait::of("start", has_failed), Config::unblocked());
        // SAFETY: writes the handle; the configuration is only read.
        let code =
            unsafe { (library.init)(&mut this.handle, ranks as c_int, UniqueId(id), rank as c_int, &mut config) };
        this.settle(code, &mut wait)?;
        Ok(this)
    }

    /// Sends every rank its slice of each of `own`, f32 of one length on this GPU, cut into as many slices as there are ranks. `theirs` gets
    /// those that are for this rank, of `from` each of these ranks the next one. Waits until that is done, or `has_failed` says that another
    /// rank has.
    ///
    /// # Errors
    /// [`DeviceError::Nccl`] if a rank does not come or fails; if a buffer is too short or elsewhere.
    pub fn scatter(
        &mut self,
        own: &[&Buffer],
        theirs: &mut [Buffer],
        from: &[usize],
        has_failed: &mut dyn FnMut() -> bool,
    ) -> Result<()> {
        let Some(len) = own.first().map(|buffer| buffer.len()) else { bail!("nothing to exchange") };
        let slice = len.div_ceil(self.ranks);
        let part = |rank: usize| (rank * slice).min(len)..((rank + 1) * slice).min(len);
        let mut sends = Vec::new();
        for peer in (0..self.ranks).filter(|&peer| !part(peer).is_empty()) {
            for buffer in own {
                sends.push((buffer.device_address(DType::F32, part(peer))?.0, part(peer).len(), peer as c_int));
            }
        }
        let mine = part(self.rank).len();
        let mut receives = Vec::new();
        for (buffer, &peer) in theirs.iter_mut().zip(from).filter(|_| mine > 0) {
            receives.push((buffer.device_address(DType::F32, 0..mine)?.0, mine, peer as c_int));
        }
        self.group(Wait::of("exchange of gradients", has_failed), |library, handle, stream| {
            // SAFETY: there are so many numbers at the addresses, which stay until the group has ended.
            let sends = sends.iter().map(|&(address, len, peer)| unsafe {
                (library.send)(address as *const c_void, len, FLOAT, peer, handle, stream)
            });
            // SAFETY: likewise, and nobody else has them.
            let receives = receives.iter().map(|&(address, len, peer)| unsafe {
                (library.receive)(address as *mut c_void, len, FLOAT, peer, handle, stream)
            });
            sends.chain(receives).find(|&code| code != SUCCESS && code != IN_PROGRESS).unwrap_or(SUCCESS)
        })
    }

    /// Fills `target` with what each rank has in `mine`, rank after rank, as far as it goes; `whole` has room for all of that. Waits until that is done,
    /// or `has_failed` says that another rank has.
    ///
    /// # Errors
    /// As for [`NcclCommunicator::scatter`].
    pub fn all_gather(
        &mut self,
        executor: &Executor,
        mine: &Buffer,
        whole: &mut Buffer,
        target: &mut Buffer,
        has_failed: &mut dyn FnMut() -> bool,
    ) -> Result<()> {
        let len = mine.len();
        let from = mine.device_address(DType::F32, 0..len)?.0;
        let to = whole.device_address(DType::F32, 0..len * self.ranks)?.0;
        self.group(Wait::of("gathering of gradients", has_failed), |library, handle, stream| {
            // SAFETY: there are so many numbers at the addresses, which stay until the group has ended.
            unsafe { (library.all_gather)(from as *const c_void, to as *mut c_void, len, FLOAT, handle, stream) }
        })?;
        accumulate(executor, target, 0.0, &whole.prefix(target.len())?, 1.0)
    }

    /// Ends when all have come to their end, whose last messages may still be on their way. Nothing is exchanged any more then, so an error
    /// harms nobody.
    pub fn finish(mut self) {
        if !self.handle.is_null() && self.stream.device.stream().is_ok() {
            // SAFETY: it has done all that it was asked for; what the network still has of it is waited for.
            let code = unsafe { (self.library.finalize)(self.handle) };
            let _ = self.settle(code, &mut Wait::of("end", &mut || false));
        }
    }

    /// Asks for some exchanges at once, and waits until they are done.
    fn group(&mut self, mut wait: Wait, ask: impl FnOnce(&Library, Handle, *mut c_void) -> c_int) -> Result<()> {
        if self.handle.is_null() {
            let what = wait.what;
            return Err(DeviceError::Nccl(format!("NCCL failed ({what}): an exchange before has failed")).into());
        }
        let stream = self.stream.device.stream()?;
        // SAFETY: a group that is begun is ended, by the same thread.
        let code = unsafe {
            match (self.library.group_start)() {
                SUCCESS => {
                    let asked = ask(self.library, self.handle, stream);
                    let ended = (self.library.group_end)();
                    if asked == SUCCESS {
                        ended
                    } else {
                        asked
                    }
                }
                code => code,
            }
        };
        self.settle(code, &mut wait)?;
        loop {
            match self.stream.device.is_done() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    self.abort();
                    return Err(error);
                }
            }
            self.pause(&mut wait)?;
            self.settle(SUCCESS, &mut wait)?;
        }
    }

    /// Waits until the communicator has done what it was asked for, or put it on the GPU's stream.
    fn settle(&mut self, code: c_int, wait: &mut Wait) -> Result<()> {
        let (mut code, mut asked) = (code, false);
        loop {
            if code != SUCCESS && code != IN_PROGRESS {
                let error = failed(self.library, self.handle, wait.what, code);
                self.abort();
                let heard = Instant::now();
                while code == REMOTE_ERROR && heard.elapsed() < HEARSAY && !(wait.has_failed)() {
                    std::thread::sleep(HEED);
                }
                return Err(error);
            }
            if code == SUCCESS && asked {
                return Ok(());
            }
            if code == IN_PROGRESS && asked {
                self.pause(wait)?;
            }
            // SAFETY: writes the state.
            let got = unsafe { (self.library.async_error)(self.handle, &mut code) };
            (code, asked) = (if got == SUCCESS { code } else { got }, true);
        }
    }

    /// Gives up where another rank has failed, or the time is over.
    fn pause(&mut self, wait: &mut Wait) -> Result<()> {
        let (what, waited) = (wait.what, wait.began.elapsed());
        let is_late = waited >= self.limit;
        // In the end too: whoever says whether others have failed knows which one does not come.
        if is_late || wait.heeded.elapsed() >= HEED {
            if (wait.has_failed)() {
                self.abort();
                return Err(DeviceError::Nccl(format!("NCCL's {what} was given up, as another rank has failed")).into());
            }
            wait.heeded = Instant::now();
        }
        if is_late {
            self.abort();
            let limit = self.limit.as_secs_f64();
            let message =
                format!("distributed: expected NCCL to end its {what} on every rank within {limit} s, it did not");
            return Err(DeviceError::Nccl(message).into());
        }
        match waited < EAGER {
            true => std::thread::yield_now(),
            false => std::thread::sleep(PAUSE),
        }
        Ok(())
    }

    fn abort(&mut self) {
        let handle = std::mem::replace(&mut self.handle, null_mut());
        if !handle.is_null() {
            // SAFETY: nobody uses it any more.
            unsafe { (self.library.abort)(handle) };
        }
    }
}

impl Drop for NcclCommunicator {
    /// Waits for nobody: others may not know yet why this one goes.
    fn drop(&mut self) {
        self.abort();
    }
}

#[cfg(feature = "cuda-host")]
pub(crate) mod imitated;
#[cfg(all(test, feature = "cuda-host"))]
mod tests;
