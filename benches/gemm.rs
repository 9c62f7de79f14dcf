//! Speed of contractions on one thread: `cargo bench --bench gemm`; BLK_TARGET names another processor than this one,
//! BLK_FEATURES changes its features.
//!
//! Prints GFLOP/s of the best of many runs per orientation and chunk, and the time to compile.

#[path = "../tests/programs/mod.rs"]
mod programs;

use std::time::Instant;

use blkc::codegen::family;
use blkc::codegen::jit::Jit;
use blkc::codegen::llvm;
use blkc::codegen::target::Target;
use blkc::loops::{Arithmetic, Elem};
use programs::{Memory, Orientation, Product, fill};

fn main() {
    let target = {
        let [cpu, features] = ["BLK_TARGET", "BLK_FEATURES"].map(|name| std::env::var(name).ok());
        Target::choose(cpu.as_deref(), features.as_deref()).expect("a known target")
    };
    println!("{} bits, {}", target.vector_bits(), target.feature_string());
    for (orientation, size, by_rows) in [
        (Orientation::Forward, [128, 1024, 1024], false),
        (Orientation::Forward, [128, 1024, 784], false),
        (Orientation::Data, [128, 1024, 1024], false),
        (Orientation::Weight, [1024, 1024, 128], true),
        (Orientation::Weight, [1024, 1024, 128], false),
        (Orientation::Forward, [64, 128, 128], false),
        (Orientation::Data, [64, 128, 128], false),
        (Orientation::Weight, [128, 128, 64], true),
        (Orientation::Forward, [128, 10, 1024], false),
    ] {
        let all = if by_rows { size[0] } else { size[1] };
        for chunk in [32, 64, 128, 256].into_iter().filter(|&chunk| chunk < all).chain([all]) {
            for (arithmetic, elems) in [
                (Arithmetic::F32, [Elem::F32; 2]),
                (Arithmetic::Bf16, [Elem::Bf16, Elem::F32]),
                (Arithmetic::Bf16, [Elem::Bf16; 2]),
            ] {
                let product = Product { orientation, size, terms: 1, by_rows, chunk, elems, arithmetic };
                measure(&target, &product);
            }
        }
    }
}

fn measure(target: &Target, product: &Product) {
    let Product { orientation, size, by_rows, chunk, elems, arithmetic, .. } = *product;
    let program = product.program();
    let begin = Instant::now();
    let jit = Jit::new(&program, target).expect("code");
    let run = jit.routine(&llvm::symbol("run"));
    let compile = begin.elapsed().as_secs_f64() * 1e3;
    let mut arena = Memory::new(program.arena_bytes);
    let mut scratch = Memory::new(llvm::scratch_bytes(&program, target));
    fill(&program, arena.bytes());
    let (base, scratch) = (arena.bytes().as_mut_ptr(), scratch.bytes().as_mut_ptr());
    let tasks = program.routines[0].levels[0].groups[0].tasks();
    let mut best = f64::INFINITY;
    let all = Instant::now();
    while all.elapsed().as_secs_f64() < 0.25 {
        let begin = Instant::now();
        for task in 0..tasks {
            // SAFETY: memory is as large as the program asks for, and aligned.
            unsafe { run(base, task as u32, scratch) };
        }
        best = best.min(begin.elapsed().as_secs_f64());
    }
    let flops = 2.0 * size.iter().map(|&extent| extent as f64).product::<f64>();
    let by = if by_rows { "rows" } else { "columns" };
    println!(
        "{orientation:?} {size:?} {chunk:4} {by:7} {elems:?} {}: {:7.1} GFLOP/s {:8.1} us, compiled in {compile:.0} ms",
        family::describe(arithmetic, target),
        flops / best / 1e9,
        best * 1e6
    );
}
