//! Denormal numbers, which make a convolution several times slower where a processor works them out bit by bit.

/// Treats denormal numbers as zero on this thread while it lives, where the processor can.
pub(crate) struct FlushDenormals {
    before: control::Word,
}

impl FlushDenormals {
    pub(crate) fn new() -> Self {
        let before = control::read();
        control::write(before | control::FLUSH);
        Self { before }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        control::write(self.before);
    }
}

/// SSE's control word.
#[cfg(target_arch = "x86_64")]
mod control {
    pub(super) type Word = u32;
    /// Flush to zero, and denormals are zero: what is computed, and what is read.
    pub(super) const FLUSH: Word = 0x8040;

    pub(super) fn read() -> Word {
        let mut word = 0u32;
        // SAFETY: stores the control word to a local variable.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut word, options(nostack)) };
        word
    }

    pub(super) fn write(word: Word) {
        // SAFETY: `word` is the one that was read with two documented flags set, or that word itself.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &word, options(nostack, readonly)) };
    }
}

/// arm64's floating-point control register.
#[cfg(target_arch = "aarch64")]
mod control {
    pub(super) type Word = u64;
    /// FZ: what is computed, and what is read.
    pub(super) const FLUSH: Word = 1 << 24;

    pub(super) fn read() -> Word {
        let word: u64;
        // SAFETY: copies the control register.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) word, options(nostack)) };
        word
    }

    pub(super) fn write(word: Word) {
        // SAFETY: `word` is the one that was read with a documented flag set, or that word itself.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) word, options(nostack)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub(super) type Word = u32;
    pub(super) const FLUSH: Word = 0;

    pub(super) fn read() -> Word {
        0
    }

    pub(super) fn write(_word: Word) {}
}

#[cfg(test)]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod tests {
    use super::FlushDenormals;
    use std::hint::black_box;

    /// The smallest normal number.
    const SMALLEST: f32 = f32::MIN_POSITIVE;

    fn half() -> f32 {
        black_box(SMALLEST) * black_box(0.5)
    }

    /// Twice a denormal number, which is a normal one.
    fn read() -> f32 {
        black_box(f32::from_bits(1 << 22)) * black_box(2.0)
    }

    #[test]
    fn denormals_are_zero_while_it_lives() {
        let flush = FlushDenormals::new();
        let flushed = (half(), read());
        drop(flush);
        assert_eq!(flushed, (0.0, 0.0));
        assert_eq!((half(), read()), (SMALLEST / 2.0, SMALLEST));
    }

    #[test]
    fn a_thread_of_a_pool_flushes_them_and_the_caller_gets_them_back() {
        let pool = crate::Pool::new(2);
        let mut halves = [1f32; 64];
        pool.chunks_mut(&mut halves, 1, |_, chunk| chunk[0] = half());
        assert_eq!(halves, [0.0; 64]);
        assert_eq!(half(), SMALLEST / 2.0);
    }
}
