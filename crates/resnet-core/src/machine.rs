//! What this machine computes with, for a model that asks for nothing else.

use crate::error::{Code, Error, Result};
use resnet_ops::Isa;

/// Kernels and threads of a model without options of its own.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The instruction set of the kernels.
    pub instruction_set: &'static str,
    /// The instruction sets that this machine has kernels for, narrowest first.
    pub instruction_sets: Vec<&'static str>,
    /// Threads.
    pub threads: usize,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if `RESNET_NATIVE_ISA` names what it has not.
    pub fn new() -> Result<Self> {
        let chosen = Isa::from_environment().map_err(|error| Error::new(Code::InvalidArgument, error.to_string()))?;
        let instruction_sets = Isa::available().into_iter().map(Isa::name).collect();
        Ok(Self { instruction_set: chosen.name(), instruction_sets, threads: default_threads() })
    }
}

/// All cores, less one for the event loop where there are more than two.
pub fn default_threads() -> usize {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        cores if cores > 2 => cores - 1,
        cores => cores,
    }
}

#[cfg(test)]
mod tests {
    use super::Machine;

    #[test]
    fn the_chosen_instruction_set_is_one_of_the_machine() {
        let machine = Machine::new().unwrap();
        assert_eq!(machine.instruction_sets[0], "portable");
        assert!(machine.instruction_sets.contains(&machine.instruction_set));
        assert!(machine.threads >= 1);
    }
}
