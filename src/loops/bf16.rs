//! bf16: the upper half of an f32, with its range and 8 bits of precision.
//!
//! Rounding is that of the processors' own conversions (Intel's VCVTNEPS2BF16): to nearest, ties to even, too large
//! numbers to infinity, subnormal numbers to zero with their sign, and every NaN to a quiet one.

const SIGN: u32 = 0x8000_0000;
/// Of a number's size, the smallest that is not subnormal, and infinity.
const NORMAL: u32 = 0x0080_0000;
const INFINITE: u32 = 0x7f80_0000;
/// The bit that makes a NaN quiet.
const QUIET: u32 = 0x0040_0000;
/// What a bf16 keeps.
const UPPER: u32 = 0xffff_0000;

/// The nearest bf16, as an f32.
pub fn round(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits(match bits & !SIGN {
        size if size < NORMAL => bits & SIGN,
        size if size > INFINITE => (bits | QUIET) & UPPER,
        _ => bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & UPPER,
    })
}

/// The upper half of a number that [`round`] gave.
pub fn upper_half(value: f32) -> u16 {
    (value.to_bits() >> 16) as u16
}

pub fn from_upper_half(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_and_ties_to_even() {
        let step = 2f32.powi(-7);
        for (value, expected) in [
            (1.0 + 0.4 * step, 1.0),
            (1.0 + 0.5 * step, 1.0),
            (1.0 + 1.5 * step, 1.0 + 2.0 * step),
            (-(1.0 + 0.6 * step), -(1.0 + step)),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
            (f32::MIN_POSITIVE, f32::MIN_POSITIVE),
            (f32::MIN_POSITIVE / 2.0, 0.0),
        ] {
            assert_eq!(round(value), expected, "{value}");
        }
        assert_eq!(round(-1e-40).to_bits(), SIGN);
        assert!(
            round(f32::from_bits(INFINITE | 1)).is_nan(),
            "a NaN whose lower half alone tells it from infinity"
        );
    }

    #[test]
    fn what_is_rounded_stays_as_it_is() {
        for half in 0..=u16::MAX {
            let value = from_upper_half(half);
            let again = round(value);
            assert_eq!(round(again).to_bits(), again.to_bits());
            if value.is_normal() {
                assert_eq!(upper_half(again), half);
            }
        }
    }
}
