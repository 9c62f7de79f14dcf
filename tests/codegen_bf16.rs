//! bf16 in buffers: machine code and interpreter have the same bits on every target.

use blkc::codegen::jit::Jit;
use blkc::codegen::llvm;
use blkc::codegen::target::Target;
use blkc::loops::build::ScalarBuilder;
use blkc::loops::{Elem, LoopVar, Nest, Program, Range, Scalars, Stmt, Ty, interpret, verify};

mod programs;
use programs::{Maker, Memory, at};

/// `halves[i, j] = words[i, j]` as an f32, rounded; `halves` transposed in `columns`; `floats[i, j]` twice that; in rows,
/// along `vector`.
fn roundings(rows: usize, cols: usize, chunk: usize, vector: Option<u32>) -> Program {
    let mut maker = Maker::default();
    let words = maker.buffer(Elem::I32, rows * cols);
    let halves = maker.buffer(Elem::Bf16, rows * cols);
    let columns = maker.buffer(Elem::Bf16, rows * cols);
    let floats = maker.buffer(Elem::F32, rows * cols);
    let (row_major, column_major) = (at(&[(0, cols as i64), (1, 1)]), at(&[(0, 1), (1, rows as i64)]));
    let nest = |body: ScalarBuilder| {
        Stmt::Nest(Nest {
            loops: vec![Range::Chunk, Range::Full(cols)],
            kept: 2,
            vector: vector.map(LoopVar),
            body: body.finish(),
            accumulate: Vec::new(),
            finish: Scalars::default(),
        })
    };
    let mut first = ScalarBuilder::new(Ty::F32);
    let word = first.load(words, Elem::I32, row_major.clone());
    let float = first.bits(word, Ty::F32);
    let half = first.stored(Elem::Bf16, float);
    first.store(halves, row_major.clone(), half);
    first.store(columns, column_major.clone(), half);
    let mut second = ScalarBuilder::new(Ty::F32);
    let half = second.load(halves, Elem::Bf16, row_major.clone());
    let again = second.load(columns, Elem::Bf16, column_major);
    let sum = second.add(half, again);
    second.store(floats, row_major, sum);
    maker.level(rows, chunk, vec![nest(first), nest(second)]);
    maker.program()
}

/// Every sign, exponent and leading bits, with what is below half of the last place kept, half of it, and above.
fn word(number: usize) -> u32 {
    const LOWER: [u32; 6] = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    let upper = (number / LOWER.len()) as u32;
    upper.wrapping_mul(0x9e37) << 16 | LOWER[number % LOWER.len()]
}

fn filled(program: &Program) -> Memory {
    let mut arena = Memory::new(program.arena_bytes);
    let words = &program.buffers[0];
    for number in 0..words.len {
        let at = words.offset + 4 * number;
        arena.bytes()[at..at + 4].copy_from_slice(&word(number).to_le_bytes());
    }
    arena
}

fn same_bits(program: &Program, target: &Target) {
    verify::verify(program).expect("a sound program");
    let mut expected = filled(program);
    interpret::run(program, "run", expected.bytes());
    let jit = Jit::new(program, target).expect("code");
    let (mut found, mut scratch) = (filled(program), Memory::new(llvm::scratch_bytes(program, target)));
    // SAFETY: both are as large as asked for and aligned.
    unsafe { jit.run(program, "run", found.bytes().as_mut_ptr(), scratch.bytes().as_mut_ptr()) };
    for (number, pair) in expected.bytes().chunks(2).zip(found.bytes().chunks(2)).enumerate() {
        assert_eq!(pair.0, pair.1, "half {number}\n{target:?}\n{program}");
    }
}

/// Targets that this machine can run, with and without instructions for bf16.
fn targets() -> Vec<Target> {
    let native = Target::native();
    let mut targets = vec![native.clone()];
    if native.is_x86() {
        for (level, changes) in
            [("x86-64", ""), ("x86-64-v3", ""), ("x86-64-v4", ""), ("x86-64-v4", "+avx512bf16")]
        {
            let target = Target::choose(Some(level), Some(changes)).expect("known");
            if target.features.iter().all(|feature| native.has(feature)) {
                targets.push(target);
            }
        }
    }
    targets
}

#[test]
fn every_number_is_rounded_alike() {
    for target in targets() {
        same_bits(&roundings(64, 6 * 1024, 64, Some(1)), &target);
    }
}

#[test]
fn any_loop_may_run_along_vectors() {
    for target in targets() {
        for (rows, cols, chunk) in [(1, 1, 1), (7, 13, 3), (33, 35, 32)] {
            for vector in [None, Some(0), Some(1)] {
                same_bits(&roundings(rows, cols, chunk, vector), &target);
            }
        }
    }
}

#[test]
fn conversion_is_one_instruction_where_there_is_one() {
    let program = roundings(4, 64, 4, Some(1));
    let mut target = Target::of_triple("x86_64-unknown-linux-gnu");
    target.features = Target::choose(Some("x86-64-v4"), Some("+avx512bf16")).expect("known").features;
    let path = blkc::codegen::aot::Path { program: &program, target: &target, manifest: b"" };
    let assembly = blkc::codegen::aot::assembly(&[path]).expect("assembly");
    assert!(assembly.contains("vcvtneps2bf16"), "{assembly}");
    // What is stored is what was converted: nothing is widened and narrowed again.
    assert!(!assembly.contains("vpmovdw"), "{assembly}");
}
