//! Files that JavaScript writes as the core writes its own: as a whole or not at all.

use crate::error::raise;
use crate::reply::on_thread;
use napi::bindgen_prelude::{PromiseRaw, Uint8Array};
use napi::Env;
use napi_derive::napi;
use resnet_core::tensor::copy_of;
use resnet_core::{Code, Error, Replacement};
use std::path::PathBuf;

/// A file that is to take a path's place.
#[napi]
pub struct NativeReplacement {
    path: PathBuf,
    file: Option<Replacement>,
}

#[napi]
impl NativeReplacement {
    /// Begins it, so that what keeps it from being written shows before its content is made.
    #[napi(constructor)]
    pub fn new(path: String) -> napi::Result<Self> {
        let path = PathBuf::from(path);
        let file = Replacement::begin(&path).map_err(|error| raise(Error::io("write", &path, &error)))?;
        Ok(Self { path, file: Some(file) })
    }

    /// Gives it its content, and the path's place.
    #[napi]
    pub fn finish<'env>(&mut self, env: &'env Env, content: Uint8Array) -> napi::Result<PromiseRaw<'env, ()>> {
        let content = copy_of(&content).map_err(raise)?;
        let ended = || raise(Error::new(Code::Internal, "a file is finished once"));
        let (mut file, path) = (self.file.take().ok_or_else(ended)?, self.path.clone());
        on_thread(env, move || {
            let written = file.write(&content).and_then(|()| file.finish());
            written.map_err(|error| Error::io("write", &path, &error))
        })
    }

    /// Removes it, unless it is finished.
    #[napi]
    pub fn abandon(&mut self) {
        self.file = None;
    }
}
