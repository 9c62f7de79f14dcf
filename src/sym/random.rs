//! The counter-based random numbers behind [`Node::Random`](super::Node::Random).
//!
//! One recipe of 32-bit operations is read by the evaluator and by the lowering to machine code, so that both give the
//! same numbers. With ⊕ exclusive or, ≫ a logical shift, sums and products modulo 2³²:
//!
//! ```text
//! mix(h)       = h ⊕= h ≫ 16; h *= 0x85EBCA6B; h ⊕= h ≫ 13; h *= 0xC2B2AE35; h ⊕= h ≫ 16       (murmur3's finalizer)
//! key          = mix(stream + 0x9E3779B9); for each counter c: key = mix((key ⊕ c)·5 + 0xE6546B64)
//! h            = mix(mix(position·0x9E3779B1 + key) ⊕ key)
//! uniform      = ((h ≫ 9) + 0.5) · 2⁻²³
//! ```
//!
//! `position` is the entry's flat row-major position in the axes of the node; 23 bits and a half are exact in f32, and
//! the number lies strictly between 0 and 1.

/// Arithmetic on 32-bit words, of numbers or of the machine's registers.
pub trait Words {
    type Word: Copy;
    fn constant(&mut self, value: u32) -> Self::Word;
    fn add(&mut self, a: Self::Word, b: Self::Word) -> Self::Word;
    fn mul(&mut self, a: Self::Word, b: Self::Word) -> Self::Word;
    fn xor(&mut self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// Logical shift to the right.
    fn shr(&mut self, a: Self::Word, bits: u32) -> Self::Word;
}

/// Half of the distance between two numbers, and the distance: uniform = (bits + `HALF`)·`STEP`.
pub const HALF: f64 = 0.5;
/// 2⁻²³.
pub const STEP: f64 = 1.0 / 8_388_608.0;

/// What all entries of one draw share.
pub fn key<W: Words>(words: &mut W, stream: u32, counters: &[W::Word]) -> W::Word {
    let start = words.constant(stream.wrapping_add(0x9E37_79B9));
    let mut key = mix(words, start);
    for &counter in counters {
        let mixed = words.xor(key, counter);
        let (five, plus) = (words.constant(5), words.constant(0xE654_6B64));
        let product = words.mul(mixed, five);
        let sum = words.add(product, plus);
        key = mix(words, sum);
    }
    key
}

/// The 23 random bits of the entry at `position`, as an integer.
pub fn bits<W: Words>(words: &mut W, key: W::Word, position: W::Word) -> W::Word {
    let odd = words.constant(0x9E37_79B1);
    let product = words.mul(position, odd);
    let sum = words.add(product, key);
    let once = mix(words, sum);
    let keyed = words.xor(once, key);
    let hash = mix(words, keyed);
    words.shr(hash, 9)
}

fn mix<W: Words>(words: &mut W, h: W::Word) -> W::Word {
    let mut h = h;
    for (shift, factor) in [(16, 0x85EB_CA6B), (13, 0xC2B2_AE35)] {
        let shifted = words.shr(h, shift);
        let mixed = words.xor(h, shifted);
        let factor = words.constant(factor);
        h = words.mul(mixed, factor);
    }
    let shifted = words.shr(h, 16);
    words.xor(h, shifted)
}

/// Words that are numbers.
pub struct Numbers;

impl Words for Numbers {
    type Word = u32;
    fn constant(&mut self, value: u32) -> u32 {
        value
    }
    fn add(&mut self, a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
    fn mul(&mut self, a: u32, b: u32) -> u32 {
        a.wrapping_mul(b)
    }
    fn xor(&mut self, a: u32, b: u32) -> u32 {
        a ^ b
    }
    fn shr(&mut self, a: u32, bits: u32) -> u32 {
        a >> bits
    }
}

/// The uniform number in (0, 1) of the entry at `position`.
pub fn uniform(stream: u32, counters: &[u32], position: u32) -> f64 {
    let key = key(&mut Numbers, stream, counters);
    (f64::from(bits(&mut Numbers, key, position)) + HALF) * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(draw: impl Fn(u32) -> f64) -> (f64, f64) {
        let n = 20_000;
        let values: Vec<f64> = (0..n).map(draw).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        (mean, values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / f64::from(n))
    }

    #[test]
    fn numbers_are_uniform_along_positions_and_steps() {
        for (mean, variance) in [moments(|i| uniform(3, &[7, 0], i)), moments(|i| uniform(3, &[7, 0, i], 5))]
        {
            assert!((mean - 0.5).abs() < 0.01, "mean {mean}");
            assert!((variance - 1.0 / 12.0).abs() < 0.003, "variance {variance}");
        }
    }

    #[test]
    fn streams_and_neighbours_are_uncorrelated() {
        let pairs = [(0, 1, 0), (0, 0, 1)];
        for (first, second, shift) in pairs {
            let product =
                |i| (uniform(first, &[1], i) - 0.5) * (uniform(second, &[1], i + shift) - 0.5) * 12.0;
            let correlation = (0..20_000).map(product).sum::<f64>() / 20_000.0;
            assert!(correlation.abs() < 0.03, "{correlation}");
        }
    }
}
