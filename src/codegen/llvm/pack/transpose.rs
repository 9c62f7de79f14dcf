//! Square blocks of 32-bit entries, transposed in registers.

use inkwell::values::VectorValue;

use crate::codegen::llvm::emit::Emitter;

/// As many vectors as each has lanes; by exchanging ever larger blocks off the diagonal (Eklundh).
pub(super) fn transposed<'ctx>(
    emitter: &Emitter<'ctx>,
    mut rows: Vec<VectorValue<'ctx>>,
) -> Vec<VectorValue<'ctx>> {
    let lanes = rows.len() as u32;
    let mut distance = 1;
    while distance < lanes {
        let low: Vec<u32> = (0..lanes)
            .map(|lane| if lane & distance == 0 { lane } else { lanes + lane - distance })
            .collect();
        let high: Vec<u32> = (0..lanes)
            .map(|lane| if lane & distance == 0 { lane + distance } else { lanes + lane })
            .collect();
        for first in (0..lanes).filter(|row| row & distance == 0) {
            let (a, b) = (rows[first as usize], rows[(first + distance) as usize]);
            rows[first as usize] = emitter.shuffle(a, b, &low);
            rows[(first + distance) as usize] = emitter.shuffle(a, b, &high);
        }
        distance *= 2;
    }
    rows
}
