//! The real instructions of tile registers (AMX): done by the processor where it has them, else one by one by a handler of
//! illegal instructions. They must give the bits of the instructions that the compiler writes out (`+emulate-amx`).
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use blkc::codegen::family::Family;
use blkc::codegen::target::Target;
use blkc::loops::{Arithmetic, Elem, Program};

#[path = "tiles/machine.rs"]
mod machine;
mod programs;
use programs::{Orientation, Product, run_program, tap_gradients};

fn target(changes: &str) -> Target {
    Target::choose(None, Some(changes)).expect("known features")
}

/// Runs the program both ways.
fn compare(program: &Program, what: &str) {
    let (real, emulated) = (target("+amx-tile,+amx-bf16"), target("+emulate-amx,-amx-tile"));
    let here = Target::native().has_tiles();
    if !here {
        machine::install();
    }
    let before = machine::count();
    let found = run_program(program, &real, |_| ());
    assert!(here || machine::count() > before, "no instruction of tiles was used: {what}");
    assert!(found == run_program(program, &emulated, |_| ()), "{what}");
}

/// In every orientation, of operands of both kinds.
fn sweep(arithmetic: Arithmetic, sizes: &[[usize; 3]]) {
    let elems = [[Elem::F32, Elem::F32], [Elem::Bf16, Elem::F32], [Elem::Bf16, Elem::Bf16]];
    for &size @ [m, n, _] in sizes {
        let family =
            Family::of(arithmetic, &target("+amx-tile,+amx-bf16"), size.map(|side| side as u64), false);
        assert!(family.by_tiles());
        for (orientation, elems) in Orientation::ALL.iter().flat_map(|one| elems.map(|elems| (*one, elems))) {
            for (terms, by_rows, chunk) in [(1, false, n), (3, true, m)] {
                let product = Product { orientation, size, terms, by_rows, chunk, elems, arithmetic };
                compare(&product.program(), &format!("{product:?}"));
            }
        }
    }
}

/// Whole tiles and parts of them; short ones that are read in place.
#[test]
fn tiles_of_bf16() {
    let whole =
        [[16, 16, 32], [32, 32, 96], [48, 24, 16], [32, 9, 40], [32, 32, 10], [36, 48, 16], [77, 33, 64]];
    sweep(Arithmetic::Bf16, &[&whole[..], &[[17, 47, 63], [37, 71, 131]]].concat());
}

#[test]
fn tiles_of_split_f32() {
    sweep(Arithmetic::F32, &[[128, 96, 64], [113, 127, 95]]);
}

#[test]
fn gradients_of_taps() {
    let of_bf16 = [([32, 40, 33], 5), ([64, 34, 128], 20)];
    // Planes want larger tasks.
    let of_f32 = [([224, 112, 61], 3), ([200, 130, 64], 4)];
    for (arithmetic, cases) in [(Arithmetic::Bf16, of_bf16), (Arithmetic::F32, of_f32)] {
        for (size, length) in cases {
            for elems in [[Elem::F32, Elem::F32], [Elem::Bf16, Elem::Bf16]] {
                let program = tap_gradients(size, length, elems, arithmetic);
                compare(&program, &format!("{size:?} {length} {elems:?} {arithmetic:?}"));
            }
        }
    }
}
