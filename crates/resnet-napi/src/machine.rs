//! What this machine computes with.

use crate::error::raise;
use napi_derive::napi;
use resnet_core::machine::Machine;

/// See [`Machine`].
#[napi(object)]
pub struct NativeMachine {
    pub instruction_set: String,
    pub instruction_sets: Vec<String>,
    pub threads: u32,
}

/// What a model without options of its own computes with. `ERR_INVALID_ARGUMENT` if `RESNET_NATIVE_ISA` names what the
/// machine has not.
#[napi]
pub fn machine() -> napi::Result<NativeMachine> {
    let Machine { instruction_set, instruction_sets, threads } = Machine::new().map_err(raise)?;
    Ok(NativeMachine {
        instruction_set: instruction_set.to_owned(),
        instruction_sets: instruction_sets.into_iter().map(str::to_owned).collect(),
        threads: threads as u32,
    })
}
