//! The machine's peak: fused multiply-adds from registers, with the widest vectors, on every thread at once.

use crate::bandwidth::slowest;

/// Rounds, of which the fastest counts.
const ROUNDS: usize = 8;
/// Independent accumulators of vectors: enough to hide the latency on every processor of today.
const CHAINS: u64 = 12;

/// Billions of single-precision operations per second (a multiply-add is two) on `threads` threads.
pub fn measure_gflops(threads: usize) -> f64 {
    measure(threads, Kernel::best())
}

/// The same for products of bf16 summed in f32, where the processor has instructions for them: of tiles (AMX), or else of
/// vectors.
pub fn measure_bf16_gflops(threads: usize) -> Option<f64> {
    Kernel::bf16().map(|kernel| measure(threads, kernel))
}

fn measure(threads: usize, kernel: Kernel) -> f64 {
    let (iterations, products) = kernel.work();
    let flops = (2 * products * iterations) as f64 * threads as f64;
    let seconds = || slowest(0..threads, &|_| kernel.run(iterations));
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
    /// Tiles of 16 by 16 sums of 32 products of bf16.
    #[cfg(target_arch = "x86_64")]
    Tiles,
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
        let has = |feature| crate::features::detect(feature) == Some(true);
        if has("amx-tile") && has("amx-bf16") {
            return Some(Kernel::Tiles);
        }
        has("avx512bf16").then_some(Kernel::Pairs512)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn bf16() -> Option<Self> {
        None
    }

    /// Iterations that take some milliseconds, and products in each.
    fn work(self) -> (u64, u64) {
        let vectors = |lanes: u64| (2_000_000, CHAINS * lanes);
        match self {
            #[cfg(target_arch = "x86_64")]
            Kernel::Wide512 => vectors(16),
            #[cfg(target_arch = "x86_64")]
            Kernel::Pairs512 => vectors(32),
            #[cfg(target_arch = "x86_64")]
            Kernel::Wide256 => vectors(8),
            #[cfg(target_arch = "x86_64")]
            Kernel::Tiles => (200_000, TILE_CHAINS * 16 * 16 * 32),
            Kernel::Portable => vectors(PORTABLE_LANES as u64),
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
            // SAFETY: the features were detected, and the system has granted their use.
            #[cfg(target_arch = "x86_64")]
            Kernel::Tiles => unsafe { tiles(iterations) },
            Kernel::Portable => portable(iterations),
        }
    }
}

/// Accumulators among the tiles; two are the factors.
#[cfg(target_arch = "x86_64")]
const TILE_CHAINS: u64 = 6;

/// Products of tiles of zeros, as which they begin.
///
/// # Safety
/// The processor must have them, and the system have granted their use.
#[cfg(target_arch = "x86_64")]
unsafe fn tiles(iterations: u64) {
    static CONFIGURATION: [u8; 64] = crate::features::tile_configuration([(16, 64); 8]);
    // SAFETY: by the caller's word; besides tiles, which nothing else holds meanwhile, only the counter is written.
    unsafe {
        std::arch::asm!(
            "ldtilecfg [{configuration}]",
            "2:",
            "tdpbf16ps tmm0, tmm6, tmm7",
            "tdpbf16ps tmm1, tmm6, tmm7",
            "tdpbf16ps tmm2, tmm6, tmm7",
            "tdpbf16ps tmm3, tmm6, tmm7",
            "tdpbf16ps tmm4, tmm6, tmm7",
            "tdpbf16ps tmm5, tmm6, tmm7",
            "dec {n}",
            "jnz 2b",
            "tilerelease",
            configuration = in(reg) CONFIGURATION.as_ptr(),
            n = inout(reg) iterations => _,
            options(readonly, nostack)
        );
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
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "../../tests/tiles/machine.rs"]
mod machine;

#[cfg(test)]
mod tests {
    use super::*;

    /// By the processor where it can, else by a handler of illegal instructions that knows what they may do.
    #[test]
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    fn tiles_are_multiplied() {
        let here = matches!(Kernel::bf16(), Some(Kernel::Tiles));
        if !here {
            machine::install();
        }
        let before = machine::count();
        // SAFETY: the instructions are there, or done by the handler.
        unsafe { tiles(2) };
        let expected = if here { 0 } else { 2 + 2 * TILE_CHAINS as usize };
        assert_eq!(machine::count() - before, expected);
    }

    #[test]
    fn is_a_plausible_rate() {
        let gflops = measure_gflops(1);
        assert!((0.1..10_000.0).contains(&gflops), "{gflops}");
    }
}
