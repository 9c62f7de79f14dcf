//! The runtime's random numbers: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
//! OOPSLA 2014), written out here so that an order of samples stays the same in every version and on every platform.

/// SplitMix64: a counter advanced by the golden ratio, and a mixing function.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

/// Streams of a run's seed that are not the order of an epoch: epoch `e` has stream `e`, these come from the other end.
pub const VALIDATION_STREAM: u64 = u64::MAX;
pub const AUGMENT_STREAM: u64 = u64::MAX - 1;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl SplitMix64 {
    pub fn new(seed: u64) -> Self {
        SplitMix64 { state: seed }
    }

    /// The stream number `index` of a seed: independent for every index.
    pub fn stream(seed: u64, index: u64) -> Self {
        SplitMix64 { state: mix(seed ^ mix(index.wrapping_add(GOLDEN))) }
    }

    /// Stream number `index` of this stream, as it is at its beginning: `stream(a, b).substream(c)` is a function of the
    /// three counters alone.
    pub fn substream(&self, index: u64) -> Self {
        SplitMix64::stream(self.state, index)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// Uniform in `0..bound` without bias (Lemire, "Fast random integer generation in an interval", 2019).
    pub fn below(&mut self, bound: u64) -> u64 {
        let reject = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= reject {
                return (product >> 64) as u64;
            }
        }
    }

    /// Uniform in (0, 1), with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        ((self.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    pub fn gaussian(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Fisher and Yates: a uniformly random order of `0..count`.
    pub fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
        order
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for seed 1234567, as published with the generator.
    #[test]
    fn agrees_with_the_published_generator() {
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(random.next_u64(), 6457827717110365317);
        assert_eq!(random.next_u64(), 3203168211198807973);
    }

    #[test]
    fn permutations_hold_everything_once_and_depend_on_the_stream() {
        let first = SplitMix64::stream(7, 0).permutation(1000);
        let second = SplitMix64::stream(7, 1).permutation(1000);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
        assert_ne!(first, second);
        assert_eq!(first, SplitMix64::stream(7, 0).permutation(1000));
    }

    /// A fixed order: a change here would change every run that is resumed.
    #[test]
    fn order_is_stable_across_versions() {
        assert_eq!(SplitMix64::stream(7, 0).permutation(8), [5, 1, 6, 2, 0, 7, 4, 3]);
    }

    #[test]
    fn substreams_are_functions_of_their_counters() {
        let draw = |path: [u64; 3]| SplitMix64::stream(path[0], path[1]).substream(path[2]).next_u64();
        let paths = [[7, 1, 2], [7, 2, 1], [1, 7, 2], [7, 1, 3]];
        let draws: Vec<u64> = paths.map(draw).to_vec();
        assert_eq!(draws, paths.map(draw));
        assert!((1..draws.len()).all(|at| !draws[..at].contains(&draws[at])), "{draws:?}");
    }

    #[test]
    fn gaussian_has_its_moments() {
        let mut random = SplitMix64::new(1);
        let values: Vec<f64> = (0..20_000).map(|_| random.gaussian()).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let square = values.iter().map(|v| v * v).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "mean {mean}, square {square}");
    }
}
