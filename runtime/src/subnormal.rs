//! Subnormal numbers count as zero while tasks run. A momentum of a weight whose gradient has become zero shrinks until it
//! is subnormal, and may stay there for ever; Intel's processors take more than a hundred cycles for a multiplication of
//! such numbers (Fog, "The microarchitecture of Intel, AMD and VIA CPUs"), and nothing that trains depends on sizes below
//! 1.2e-38.

/// As long as it lives, subnormal operands and results of this thread count as zero; then the thread is as it was before.
pub struct Flushed(arch::Control);

impl Flushed {
    pub fn new() -> Flushed {
        let before = arch::read();
        arch::write(arch::flushing(before));
        Flushed(before)
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        arch::write(self.0);
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use std::arch::asm;

    pub type Control = u32;

    /// Of MXCSR: results (FTZ) and operands (DAZ). Intel, "Software Developer's Manual", volume 1, §10.2.3.
    pub fn flushing(control: Control) -> Control {
        control | 1 << 15 | 1 << 6
    }

    pub fn read() -> Control {
        let mut control: Control = 0;
        // SAFETY: writes the four bytes of `control` and nothing else.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags)) };
        control
    }

    pub fn write(control: Control) {
        // SAFETY: changes nothing but how floating-point instructions treat subnormal numbers, whoever writes back what
        // was read; only generated code runs in between.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, readonly, preserves_flags))
        };
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use std::arch::asm;

    pub type Control = u64;

    /// FZ of FPCR. Arm, "Architecture Reference Manual", FPCR.
    pub fn flushing(control: Control) -> Control {
        control | 1 << 24
    }

    pub fn read() -> Control {
        let control: Control;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags)) };
        control
    }

    pub fn write(control: Control) {
        // SAFETY: changes nothing but how floating-point instructions treat subnormal numbers, whoever writes back what
        // was read; only generated code runs in between.
        unsafe { asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    pub type Control = ();

    /// Nothing is known of other processors: they treat subnormal numbers as they do.
    pub fn flushing((): Control) -> Control {}

    pub fn read() -> Control {}

    pub fn write((): Control) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;

    use super::*;

    fn half_of_the_smallest() -> f32 {
        black_box(f32::MIN_POSITIVE) * black_box(0.5)
    }

    #[test]
    fn only_while_it_lives() {
        assert_ne!(half_of_the_smallest(), 0.0);
        let flushed = Flushed::new();
        let found = half_of_the_smallest().to_bits();
        drop(flushed);
        assert_eq!(found, 0);
        assert_ne!(half_of_the_smallest(), 0.0);
    }
}
