//! The memory that the convolutions of one stream work in.

use super::choice::is_out_of_memory;
use candle_core::Result;
use std::sync::Arc;

/// Memory that grows with what plans want, and is one for all: a stream's work is done in order.
pub struct Room<M> {
    memory: Option<Arc<M>>,
    /// Bytes of the memory.
    bytes: i64,
    /// Bytes that the plans want which it was made ready for.
    wanted: i64,
}

impl<M> Room<M> {
    /// Nothing so far.
    pub fn new() -> Self {
        Self { memory: None, bytes: 0, wanted: 0 }
    }

    /// The memory, if any is wanted.
    pub fn memory(&self) -> Option<&Arc<M>> {
        self.memory.as_ref()
    }

    /// Makes it at least so large, by `take`.
    ///
    /// # Errors
    /// As of `take`.
    pub fn make(&mut self, bytes: i64, take: impl FnOnce(i64) -> Result<M>) -> Result<()> {
        if bytes > self.bytes {
            // The old one goes before the new one comes, unless a captured graph needs it.
            (self.memory, self.bytes) = (None, 0);
            (self.memory, self.bytes) = (Some(Arc::new(take(bytes)?)), bytes);
        }
        Ok(())
    }

    /// Makes it ready for a plan that wants so many bytes, and for those that were run before, as long as there is room for them too.
    ///
    /// # Errors
    /// As of `take`; what was wanted before stays so.
    pub fn reserve(&mut self, bytes: i64, take: impl Fn(i64) -> Result<M>) -> Result<()> {
        let mut wanted = self.wanted.max(bytes);
        match self.make(wanted, &take) {
            Err(error) if bytes < wanted && is_out_of_memory(&error) => {
                wanted = bytes;
                self.make(wanted, &take)?;
            }
            made => made?,
        }
        self.wanted = wanted;
        Ok(())
    }

    /// Ends a choice: what only the plans wanted that were not chosen goes back.
    pub fn settle(&mut self, chosen: Option<i64>) {
        self.wanted = self.wanted.max(chosen.unwrap_or(0));
        if self.bytes > self.wanted {
            (self.memory, self.bytes) = (None, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Room;
    use crate::DeviceError;
    use candle_core::Result;
    use std::cell::{Cell, RefCell};

    /// A GPU with so many bytes free, and what it was asked for.
    struct Gpu {
        free: Cell<i64>,
        asked: RefCell<Vec<i64>>,
    }

    impl Gpu {
        fn with(free: i64) -> Self {
            Self { free: Cell::new(free), asked: RefCell::default() }
        }

        fn take(&self, bytes: i64) -> Result<i64> {
            self.asked.borrow_mut().push(bytes);
            match bytes <= self.free.get() {
                true => Ok(bytes),
                false => Err(DeviceError::OutOfMemory(format!("no {bytes} bytes")).into()),
            }
        }

        fn reserve(&self, room: &mut Room<i64>, bytes: i64) -> (bool, Vec<i64>) {
            let reserved = room.reserve(bytes, |bytes| self.take(bytes)).is_ok();
            (reserved, self.asked.take())
        }
    }

    #[test]
    fn grows_with_what_is_wanted_and_stays() {
        let (gpu, mut room) = (Gpu::with(100), Room::new());
        assert_eq!(gpu.reserve(&mut room, 0), (true, vec![]));
        assert!(room.memory().is_none());
        assert_eq!(gpu.reserve(&mut room, 10), (true, vec![10]));
        assert_eq!(gpu.reserve(&mut room, 5), (true, vec![]));
        assert_eq!(gpu.reserve(&mut room, 20), (true, vec![20]));
        assert_eq!(**room.memory().unwrap(), 20);
    }

    #[test]
    fn what_cannot_be_had_is_not_asked_for_again() {
        let (gpu, mut room) = (Gpu::with(100), Room::new());
        assert_eq!(gpu.reserve(&mut room, 10), (true, vec![10]));
        assert_eq!(gpu.reserve(&mut room, 500), (false, vec![500]));
        // The old one has gone for it, and comes again.
        assert_eq!(gpu.reserve(&mut room, 5), (true, vec![10]));
        assert_eq!(gpu.reserve(&mut room, 0), (true, vec![]));
    }

    #[test]
    fn a_plan_is_run_where_there_is_room_for_it_but_no_longer_for_others() {
        let (gpu, mut room) = (Gpu::with(100), Room::new());
        assert_eq!(gpu.reserve(&mut room, 80), (true, vec![80]));
        room.make(500, |bytes| gpu.take(bytes)).unwrap_err();
        gpu.free.set(50);
        gpu.asked.take();
        assert_eq!(gpu.reserve(&mut room, 40), (true, vec![80, 40]));
        assert_eq!(gpu.reserve(&mut room, 0), (true, vec![]));
        assert_eq!(gpu.reserve(&mut room, 60), (false, vec![60]));
    }

    #[test]
    fn what_a_choice_leaves_over_goes_back() {
        let (gpu, mut room) = (Gpu::with(100), Room::new());
        let settled = |room: &mut Room<i64>, most: i64, chosen| {
            room.make(most, |bytes| gpu.take(bytes)).unwrap();
            room.settle(chosen);
            room.memory().map(|memory| **memory)
        };
        assert_eq!(settled(&mut room, 60, Some(10)), None);
        assert_eq!(gpu.reserve(&mut room, 0), (true, vec![60, 10]));
        assert_eq!(settled(&mut room, 60, Some(60)), Some(60));
        assert_eq!(settled(&mut room, 90, None), None);
        assert_eq!(settled(&mut room, 60, None), Some(60));
    }

    #[test]
    fn other_errors_are_told_at_once() {
        let mut room = Room::new();
        room.reserve(8, Ok).unwrap();
        room.settle(None);
        let broken = |_: i64| -> Result<i64> { Err(DeviceError::Failed("the GPU failed".into()).into()) };
        assert_eq!(room.reserve(9, broken).unwrap_err().to_string(), "the GPU failed");
        let asked = Cell::new(0);
        let counted = |bytes: i64| {
            asked.set(asked.get() + 1);
            broken(bytes)
        };
        assert!(room.reserve(1, counted).is_err());
        assert_eq!(asked.get(), 1);
    }
}
