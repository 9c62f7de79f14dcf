//! Random numbers by the recipe that the evaluator follows, in machine words.

use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg};
use crate::sym::random::{HALF, STEP, Words, bits, key};

struct Machine<'a>(&'a mut ScalarBuilder);

impl Words for Machine<'_> {
    type Word = Reg;

    fn constant(&mut self, value: u32) -> Reg {
        self.0.int(value as i32)
    }

    fn add(&mut self, a: Reg, b: Reg) -> Reg {
        self.0.add(a, b)
    }

    fn mul(&mut self, a: Reg, b: Reg) -> Reg {
        self.0.mul(a, b)
    }

    fn xor(&mut self, a: Reg, b: Reg) -> Reg {
        self.0.binary(Binary::Xor, a, b)
    }

    fn shr(&mut self, a: Reg, bits: u32) -> Reg {
        let bits = self.0.int(bits as i32);
        self.0.binary(Binary::Shr, a, bits)
    }
}

/// The uniform number in (0, 1) at `position`; the counters and the position are 32-bit words.
pub(super) fn uniform(builder: &mut ScalarBuilder, stream: u32, counters: &[Reg], position: Reg) -> Reg {
    let mut words = Machine(builder);
    let key = key(&mut words, stream, counters);
    let bits = bits(&mut words, key, position);
    let float = builder.float_type();
    let whole = builder.convert(bits, float);
    let (half, step) = (builder.number(HALF), builder.number(STEP));
    let centred = builder.add(whole, half);
    builder.mul(centred, step)
}
