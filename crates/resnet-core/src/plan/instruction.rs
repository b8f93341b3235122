//! What the lists of a plan are made of: kernel calls whose operands have names.

/// Storage that a plan asks for, by its number; [`super::slots`] finds a place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request(pub usize);

/// An operand that a call reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read(pub Request);

/// An operand that a call writes, and may read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write(pub Request);

/// An operand that the gradient of a value is written over, or added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accumulated {
    pub target: Request,
    pub accumulate: bool,
}

/// Whatever names storage.
pub(super) trait Operands {
    /// Visits all storage that is named.
    fn each(&self, visit: &mut dyn FnMut(Request));
}

impl Operands for Read {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        visit(self.0);
    }
}

impl Operands for Write {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        visit(self.0);
    }
}

impl Operands for Accumulated {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        visit(self.target);
    }
}

impl<T: Operands> Operands for Option<T> {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        self.iter().for_each(|operand| operand.each(visit));
    }
}

impl<T: Operands> Operands for Vec<T> {
    fn each(&self, visit: &mut dyn FnMut(Request)) {
        self.iter().for_each(|operand| operand.each(visit));
    }
}

/// Settings of a call: no storage.
macro_rules! settings {
    ($($setting:ty),*) => {
        $(impl Operands for $setting {
            fn each(&self, _: &mut dyn FnMut(Request)) {}
        })*
    };
}
settings!(bool, usize, resnet_ops::Pass);

/// Declares the calls of an op: an enum whose variants name their operands. So no operand can be left out of a value's live range.
macro_rules! calls {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $call:ident { $($field:ident: $type:ty),* $(,)? }),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub(in crate::plan) enum $name {
            $($(#[$doc])* $call { $($field: $type),* }),*
        }

        impl $crate::plan::instruction::Operands for $name {
            fn each(&self, visit: &mut dyn FnMut($crate::plan::instruction::Request)) {
                match self {
                    $(Self::$call { $($field),* } => { $($field.each(visit);)* })*
                }
            }
        }
    };
}
pub(super) use calls;

/// The lists of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// What is worked out from the weights alone, and kept while they stay as they are.
    Pack,
    /// From images to logits.
    Forward,
    /// From the logits' gradient to all that is wanted.
    Backward,
    /// The running statistics take in the batch's.
    Statistics,
}
