//! The machine's peak: fused multiply-adds from registers, with the widest vectors, on every thread at once.

use crate::bandwidth::slowest;

/// Rounds, of which the fastest counts, and multiply-adds of one thread in one (some milliseconds).
const ROUNDS: usize = 8;
const ITERATIONS: u64 = 2_000_000;
/// Independent accumulators: enough to hide the latency on every processor of today.
const CHAINS: u64 = 12;

/// Billions of single-precision operations per second (a multiply-add is two) on `threads` threads.
pub fn measure_gflops(threads: usize) -> f64 {
    measure(threads, Kernel::best())
}

/// The same for products of bf16 summed in f32, where the processor has vector instructions for them. Matrix tiles (AMX)
/// are not measured yet; a share of this peak may then exceed 1.
pub fn measure_bf16_gflops(threads: usize) -> Option<f64> {
    Kernel::bf16().map(|kernel| measure(threads, kernel))
}

fn measure(threads: usize, kernel: Kernel) -> f64 {
    let flops = (2 * CHAINS * kernel.products() * ITERATIONS) as f64 * threads as f64;
    let seconds = || slowest(0..threads, &|_| kernel.run(ITERATIONS));
    (0..ROUNDS).map(|_| flops / seconds() / 1e9).fold(0.0, f64::max)
}

#[derive(Clone, Copy, Debug)]
enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Wide512,
    #[cfg(target_arch = "x86_64")]
    Wide256,
    /// Two products of bf16 per lane.
    #[cfg(target_arch = "x86_64")]
    Pairs512,
    Portable,
}

#[cfg(target_arch = "x86_64")]
macro_rules! fma_loop {
    ($instruction:literal, $width:literal, $iterations:expr) => {
        std::arch::asm!(
            "2:",
            concat!($instruction, " ", $width, "mm0, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm1, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm2, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm3, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm4, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm5, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm6, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm7, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm8, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm9, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm10, ", $width, "mm12, ", $width, "mm13"),
            concat!($instruction, " ", $width, "mm11, ", $width, "mm12, ", $width, "mm13"),
            "dec {n}",
            "jnz 2b",
            "vzeroupper",
            n = inout(reg) $iterations => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _,
            out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            // The factors: zeros, so that nothing overflows or turns slow.
            inout("xmm12") 0.0f32 => _, inout("xmm13") 0.0f32 => _,
            out("xmm14") _, out("xmm15") _,
            options(nomem, nostack)
        )
    };
}

impl Kernel {
    #[cfg(target_arch = "x86_64")]
    fn best() -> Self {
        if std::is_x86_feature_detected!("avx512f") {
            Kernel::Wide512
        } else if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            Kernel::Wide256
        } else {
            Kernel::Portable
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn best() -> Self {
        Kernel::Portable
    }

    #[cfg(target_arch = "x86_64")]
    fn bf16() -> Option<Self> {
        (crate::features::detect("avx512bf16") == Some(true)).then_some(Kernel::Pairs512)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn bf16() -> Option<Self> {
        None
    }

    /// Products of one instruction.
    fn products(self) -> u64 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Kernel::Wide512 => 16,
            #[cfg(target_arch = "x86_64")]
            Kernel::Pairs512 => 32,
            #[cfg(target_arch = "x86_64")]
            Kernel::Wide256 => 8,
            Kernel::Portable => PORTABLE_LANES as u64,
        }
    }

    fn run(self, iterations: u64) {
        match self {
            // SAFETY: the features were detected, and the loop touches no memory and declares its registers.
            #[cfg(target_arch = "x86_64")]
            Kernel::Wide512 => unsafe { fma_loop!("vfmadd231ps", "z", iterations) },
            #[cfg(target_arch = "x86_64")]
            Kernel::Pairs512 => unsafe { fma_loop!("vdpbf16ps", "z", iterations) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Wide256 => unsafe { fma_loop!("vfmadd231ps", "y", iterations) },
            Kernel::Portable => portable(iterations),
        }
    }
}

const PORTABLE_LANES: usize = 4;

/// Multiplies and adds in vectors that every compiler makes of this.
fn portable(iterations: u64) {
    let mut sums = [[0f32; PORTABLE_LANES]; CHAINS as usize];
    let (x, y) =
        (std::hint::black_box([0.5f32; PORTABLE_LANES]), std::hint::black_box([0.25f32; PORTABLE_LANES]));
    for _ in 0..iterations {
        for sum in &mut sums {
            for lane in 0..PORTABLE_LANES {
                sum[lane] = sum[lane] * x[lane] + y[lane];
            }
        }
    }
    std::hint::black_box(sums);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_plausible_rate() {
        let gflops = measure_gflops(1);
        assert!((0.1..10_000.0).contains(&gflops), "{gflops}");
    }
}
