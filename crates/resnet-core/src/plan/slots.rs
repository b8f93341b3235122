//! Preallocated storage, shared by values whose lifetimes do not meet and by the plans of a session.

use super::repeat::Recordings;
use crate::error::Result;
use resnet_ops::{Buffer, DType, Executor};

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Activations, their gradients, packed weights, in the backend's type for them.
    Real,
    /// Sums in f64.
    Sum,
    /// Places in a window, as bytes.
    Place,
    /// Weights packed for as long as they stay as they are.
    Packed,
    /// Images, statistics, folded weights, in the type of parameters.
    Exact,
}

pub(super) const CLASSES: usize = 5;

/// A slot: its class, and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) class: Class,
    pub(super) index: usize,
}

/// The storage of a session's plans.
#[derive(Default)]
pub struct Slots {
    buffers: [Vec<Buffer>; CLASSES],
    /// What plans have recorded over them.
    pub recordings: Recordings,
}

impl Slots {
    /// Makes room for slots of these lengths, longest first in each class; what is there and long enough stays.
    pub(super) fn reserve(&mut self, executor: &Executor, lengths: &[Vec<usize>; CLASSES]) -> Result<()> {
        let (real, exact) = (executor.dtype(), executor.exact_dtype());
        let dtypes = [real, DType::F64, DType::U8, real, exact];
        for ((buffers, lengths), dtype) in self.buffers.iter_mut().zip(lengths).zip(dtypes) {
            for (index, &length) in lengths.iter().enumerate() {
                if index == buffers.len() {
                    buffers.push(executor.zeros(dtype, length)?);
                } else if buffers[index].len() < length {
                    // The old storage goes before the new one comes, and with it what keeps it.
                    self.recordings = Recordings::default();
                    buffers[index] = Buffer::empty();
                    buffers[index] = executor.zeros(dtype, length)?;
                }
            }
        }
        Ok(())
    }

    /// Forgets what replaced plans have recorded.
    pub fn forget_recordings(&mut self) {
        self.recordings = Recordings::default();
    }

    pub(super) fn get(&self, slot: Slot) -> &Buffer {
        &self.buffers[slot.class as usize][slot.index]
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Buffer {
        &mut self.buffers[slot.class as usize][slot.index]
    }
}

/// A value's storage need: how much, and from which instruction to which.
#[derive(Clone, Debug)]
pub(super) struct Need {
    pub(super) class: Class,
    pub(super) len: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Gives every need a slot, the longest first, each the first slot that is free during its lifetime. Returns the slots and
/// the lengths that they need.
pub(super) fn assign(needs: &[Need]) -> (Vec<Slot>, [Vec<usize>; CLASSES]) {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(needs[index].len));
    let mut lengths: [Vec<usize>; CLASSES] = Default::default();
    let mut tenants: [Vec<Vec<(usize, usize)>>; CLASSES] = Default::default();
    let mut slots = vec![Slot { class: Class::Real, index: 0 }; needs.len()];
    for index in order {
        let Need { class, len, first, last } = needs[index];
        let (lengths, tenants) = (&mut lengths[class as usize], &mut tenants[class as usize]);
        let free = |lifetimes: &Vec<(usize, usize)>| lifetimes.iter().all(|&(from, to)| last < from || to < first);
        let place = tenants.iter().position(free).unwrap_or_else(|| {
            lengths.push(len);
            tenants.push(Vec::new());
            tenants.len() - 1
        });
        tenants[place].push((first, last));
        slots[index] = Slot { class, index: place };
    }
    (slots, lengths)
}

#[cfg(test)]
mod tests {
    use super::{assign, Class, Need};

    #[test]
    fn slots_are_shared_by_values_that_never_meet() {
        let need = |len, first, last| Need { class: Class::Real, len, first, last };
        let needs = [need(10, 0, 2), need(30, 1, 4), need(20, 3, 5), need(5, 5, 6)];
        let (slots, lengths) = assign(&needs);
        assert_eq!(lengths[0], [30, 20]);
        for (i, a) in needs.iter().enumerate() {
            for (j, b) in needs.iter().enumerate().skip(i + 1) {
                let meet = a.first <= b.last && b.first <= a.last;
                assert!(!meet || slots[i] != slots[j], "{i} and {j} meet in one slot");
            }
            assert!(lengths[0][slots[i].index] >= a.len);
        }
    }
}
