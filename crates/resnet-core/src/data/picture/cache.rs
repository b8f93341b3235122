//! Fitted pictures that are kept as bytes, as many as there is room for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;

/// A place for each picture. What comes first is kept, until the room is used up: what is kept never changes what a batch holds.
pub(super) struct Cache {
    places: Vec<OnceLock<Box<[u8]>>>,
    room: usize,
    left: AtomicUsize,
}

impl Cache {
    pub fn new(count: usize, bytes: usize) -> Self {
        let places = if bytes == 0 { 0 } else { count };
        Self { places: (0..places).map(|_| OnceLock::new()).collect(), room: bytes, left: AtomicUsize::new(bytes) }
    }

    /// Bytes that it keeps at most.
    pub fn room(&self) -> usize {
        self.room
    }

    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.places.get(index)?.get().map(|bytes| &**bytes)
    }

    /// Keeps a picture, if there is room.
    pub fn put(&self, index: usize, bytes: &[u8]) {
        let Some(place) = self.places.get(index) else { return };
        let take = |left: usize| left.checked_sub(bytes.len());
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return;
        }
        let mut copy = Vec::new();
        let kept = copy.try_reserve_exact(bytes.len()).is_ok() && {
            copy.extend_from_slice(bytes);
            place.set(copy.into_boxed_slice()).is_ok()
        };
        if !kept {
            self.left.fetch_add(bytes.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_there_is_room_for() {
        let cache = Cache::new(4, 10);
        for index in [2, 0, 1] {
            cache.put(index, &[index as u8; 4]);
        }
        assert_eq!([0, 1, 2, 3].map(|index| cache.get(index).map(<[u8]>::len)), [Some(4), None, Some(4), None]);
        cache.put(2, &[9; 2]);
        assert_eq!(cache.get(2), Some(&[2; 4][..]), "the first one stays");
        cache.put(3, &[9; 2]);
        assert_eq!(cache.get(3), Some(&[9; 2][..]), "what was not kept took no room");
        assert_eq!(Cache::new(4, 0).get(1), None);
    }
}
