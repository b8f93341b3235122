//! Preallocated storage, shared by values whose live ranges are disjoint and by the plans of an engine.

use super::captured::CapturedGraphs;
use super::mode::Mode;
use crate::cancel::Cancel;
use crate::error::Result;
use resnet_ops::{Buffer, DType, Executor};
use std::cell::{Ref, RefCell, RefMut};
use std::ops::RangeInclusive;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Activations, their gradients, packed weights, in the backend's type for computing.
    Compute,
    /// Sums in f64.
    Sum,
    /// Indices of pixels in a window, as bytes.
    Index,
    /// Weights packed for as long as they stay as they are, in the type for computing.
    Packed,
    /// Images, statistics, folded weights, in the type of parameters.
    Parameter,
}

pub(super) const CLASSES: usize = Class::ALL.len();

impl Class {
    const ALL: [Self; 5] = [Self::Compute, Self::Sum, Self::Index, Self::Packed, Self::Parameter];

    fn dtype(self, executor: &Executor) -> DType {
        match self {
            Self::Compute | Self::Packed => executor.dtype(),
            Self::Sum => DType::F64,
            Self::Index => DType::U8,
            Self::Parameter => executor.parameter_dtype(),
        }
    }
}

/// A slot: its class, and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    class: Class,
    index: usize,
}

/// The storage of an engine's plans.
#[derive(Default)]
pub struct Slots {
    buffers: [Vec<RefCell<Buffer>>; CLASSES],
    /// What plans have captured over them.
    pub captured: CapturedGraphs,
    /// Whose weights are packed in them.
    pub(super) packed: Option<PackedFor>,
}

/// For what weights were packed last: the plan of which mode, which version of the weights, how many images.
pub(super) struct PackedFor {
    pub mode: Mode,
    pub version: u64,
    pub n: usize,
}

impl Slots {
    /// Makes room for slots of these lengths, longest first in each class; what is there and long enough stays.
    ///
    /// # Errors
    /// `ERR_OUT_OF_MEMORY`, `ERR_ABORTED`. What had to go for larger storage is then missing: each plan reserves before it runs.
    pub(super) fn reserve(
        &mut self,
        executor: &Executor,
        lengths: &[Vec<usize>; CLASSES],
        cancel: &Cancel,
    ) -> Result<()> {
        for class in Class::ALL {
            let (buffers, lengths) = (&mut self.buffers[class as usize], &lengths[class as usize]);
            let dtype = class.dtype(executor);
            for (index, &length) in lengths.iter().enumerate() {
                let zeros = || zeros(executor, dtype, length, || cancel.check());
                if index == buffers.len() {
                    buffers.push(zeros()?.into());
                } else if buffers[index].get_mut().len() < length {
                    // The old storage goes before the new one comes, and with it what keeps it.
                    self.captured = CapturedGraphs::default();
                    self.packed = None;
                    buffers[index] = Buffer::empty().into();
                    buffers[index] = zeros()?.into();
                }
            }
        }
        Ok(())
    }

    /// Forgets what a plan that is replaced has captured and packed.
    pub fn forget(&mut self) {
        self.captured = CapturedGraphs::default();
        self.packed = None;
    }

    /// The memory of all slots, in bytes.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().flatten().map(|buffer| buffer.borrow().bytes()).sum()
    }

    /// Elements of all slots.
    #[cfg(test)]
    pub fn len(&mut self) -> usize {
        self.buffers.iter_mut().flatten().map(|buffer| buffer.get_mut().len()).sum()
    }

    pub(super) fn read(&self, slot: Slot) -> Ref<'_, Buffer> {
        self.buffers[slot.class as usize][slot.index].borrow()
    }

    pub(super) fn write(&self, slot: Slot) -> RefMut<'_, Buffer> {
        self.buffers[slot.class as usize][slot.index].borrow_mut()
    }
}

/// Elements that are touched between two looks at whether the call should end: some milliseconds' worth.
const PIECE: usize = 1 << 22;

/// Storage for a slot. Gigabytes take seconds to be had, so `look`, whose error ends it, is called every few of those.
fn zeros(executor: &Executor, dtype: DType, len: usize, look: impl Fn() -> Result<()>) -> Result<Buffer> {
    look()?;
    let mut buffer = executor.zeros(dtype, len)?;
    for start in (0..len).step_by(PIECE) {
        look()?;
        buffer.touch(start..len.min(start + PIECE))?;
    }
    Ok(buffer)
}

/// What wants a slot: how much, and from which call to which.
#[derive(Clone, Debug)]
pub(super) struct Allocation {
    pub class: Class,
    pub len: usize,
    pub live: RangeInclusive<usize>,
}

impl Allocation {
    fn is_disjoint(&self, other: &RangeInclusive<usize>) -> bool {
        self.live.end() < other.start() || other.end() < self.live.start()
    }
}

/// Gives everything a slot, the longest first, each the first slot that is free while it is live. Returns the slots and the
/// lengths that they need.
pub(super) fn assign(allocations: &[Allocation]) -> (Vec<Slot>, [Vec<usize>; CLASSES]) {
    let mut order: Vec<usize> = (0..allocations.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(allocations[index].len));
    let mut lengths: [Vec<usize>; CLASSES] = Default::default();
    let mut tenants: [Vec<Vec<RangeInclusive<usize>>>; CLASSES] = Default::default();
    let mut slots = vec![Slot { class: Class::Compute, index: 0 }; allocations.len()];
    for index in order {
        let allocation = &allocations[index];
        let class = allocation.class;
        let (lengths, tenants) = (&mut lengths[class as usize], &mut tenants[class as usize]);
        let free = |ranges: &Vec<RangeInclusive<usize>>| ranges.iter().all(|range| allocation.is_disjoint(range));
        let place = tenants.iter().position(free).unwrap_or_else(|| {
            lengths.push(allocation.len);
            tenants.push(Vec::new());
            tenants.len() - 1
        });
        tenants[place].push(allocation.live.clone());
        slots[index] = Slot { class, index: place };
    }
    (slots, lengths)
}

#[cfg(test)]
mod tests {
    use super::{assign, zeros, Allocation, Class, PIECE};
    use crate::error::{Code, Error};
    use resnet_ops::{DType, Executor};
    use std::cell::Cell;

    #[test]
    fn slots_are_shared_where_live_ranges_are_disjoint() {
        let allocation = |len, first, last| Allocation { class: Class::Compute, len, live: first..=last };
        let allocations = [allocation(10, 0, 2), allocation(30, 1, 4), allocation(20, 3, 5), allocation(5, 5, 6)];
        let (slots, lengths) = assign(&allocations);
        assert_eq!(lengths[0], [30, 20]);
        for (i, a) in allocations.iter().enumerate() {
            for (j, b) in allocations.iter().enumerate().skip(i + 1) {
                assert!(a.is_disjoint(&b.live) || slots[i] != slots[j], "{i} and {j} are live in one slot");
            }
            assert!(lengths[0][slots[i].index] >= a.len);
        }
    }

    #[test]
    fn a_call_that_ends_stops_the_making_of_a_large_slot() {
        let looks = Cell::new(0);
        let make = |len, end| {
            looks.set(0);
            zeros(&Executor::ReferenceF32, DType::F32, len, || {
                looks.set(looks.get() + 1);
                (looks.get() < end).then_some(()).ok_or_else(|| Error::new(Code::Aborted, "enough"))
            })
        };
        let made = make(5 * PIECE + 1, usize::MAX).unwrap();
        assert!(made.slice::<f32>().unwrap().iter().all(|&value| value == 0.0));
        assert_eq!(looks.get(), 7);

        let error = make(64 * PIECE, 3).err().unwrap();
        assert_eq!((error.code, looks.get()), (Code::Aborted, 3));
    }
}
