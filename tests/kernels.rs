//! Every family of micro-kernels against products in f64, over a sweep of shapes, each within its stated bound.

use std::collections::BTreeSet;

use blkc::codegen::aot;
use blkc::codegen::family::Family;
use blkc::codegen::target::{EMULATE_TILES, Target};
use blkc::loops::{Arithmetic, BufferId, Elem, Program, bf16};

mod programs;
use programs::{
    Orientation, Product, Window, floats, run_program, strides, tap_gradients, window_gradients, windows,
};

fn target(changes: &str) -> Target {
    Target::choose(None, Some(changes)).expect("known features")
}

fn baseline(changes: &str) -> Target {
    Target::choose(Some("x86-64"), Some(changes)).expect("known features")
}

/// What one entry may be off, beside half a unit of its last place, as a share of Σ |a|·|b| of `count` products.
fn bound(family: Family, count: usize) -> f64 {
    let half_ulp = f64::from(f32::EPSILON) / 2.0;
    match family {
        // A chain of roundings, one per product (two without FMA); products of bf16 are exact.
        Family::Fma | Family::Rounded | Family::Dot | Family::Tile => 2.0 * count as f64 * half_ulp,
        // Two left out products of 2^-24 each, and the roundings of a much shorter chain.
        Family::Split => 1e-6_f64.min(2.0 * (count as f64 + 4.0) * half_ulp),
    }
}

/// Compares the result with products in f64; returns the largest error as a share of Σ |a|·|b|.
fn check(product: &Product, target: &Target) -> f64 {
    check_program(product, &product.program(), |bias| bias, target)
}

/// The same for a program of the product that adds something `of_bias`.
fn check_program(product: &Product, program: &Program, of_bias: fn(f64) -> f64, target: &Target) -> f64 {
    let Product { size: [m, n, k], orientation, terms, elems, arithmetic, by_rows, .. } = *product;
    let arena = run_program(program, target, |_| ());
    let [a, b, bias, out] = [0, 1, 2, 3].map(|number| floats(program, &arena, BufferId(number)));
    let family = Family::of(arithmetic, target, [m as u64, n as u64, k as u64], by_rows);
    let rounds = arithmetic == Arithmetic::Bf16 && family != Family::Fma;
    let factor = |value: f64| if rounds { f64::from(bf16::round(value as f32)) } else { value };
    let [by_a, by_b] = strides(orientation, [m, n, k]);
    let (term_a, term_b) = product.offsets();
    let mut worst = 0f64;
    for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
        let (mut sum, mut size) = (of_bias(bias[column]), 0.0);
        for (term, depth) in (0..terms).flat_map(|term| (0..k).map(move |depth| (term, depth))) {
            let a = factor(a[term * term_a + row * by_a.0 + depth * by_a.1]);
            let b = factor(b[term * term_b + depth * by_b.0 + column * by_b.1]);
            sum += a * b;
            size += (a * b).abs();
        }
        let (expected, found) = (sum.max(0.0), out[row * n + column]);
        let error = (expected - found).abs();
        let allowed = bound(family, k * terms) * size + f64::from(f32::EPSILON) * expected.abs();
        assert!(
            error <= allowed,
            "[{row}, {column}]: {found} instead of {expected}, allowed {allowed}\n{product:?} {elems:?}\n{target:?}"
        );
        worst = worst.max((error - f64::from(f32::EPSILON) * expected.abs()) / size);
    }
    worst
}

/// Sizes 1, primes, and around whole tiles of every family.
const SIZES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [2, 3, 2],
    [13, 32, 31],
    [15, 17, 32],
    [16, 16, 33],
    [17, 47, 63],
    [31, 10, 64],
    [32, 32, 96],
    [33, 65, 7],
    [37, 71, 131],
];

/// With bf16 in rows along k, tiles of 32, 16, 20 and 6 entries are read in place, the last of which may overlap the one before.
const WHOLE: [[usize; 3]; 7] =
    [[32, 32, 64], [16, 20, 16], [32, 16, 40], [48, 9, 6], [17, 16, 32], [36, 48, 16], [77, 33, 64]];

/// What the operands may be made of.
const ELEMS: [[Elem; 2]; 4] =
    [[Elem::F32, Elem::F32], [Elem::Bf16, Elem::F32], [Elem::F32, Elem::Bf16], [Elem::Bf16, Elem::Bf16]];

/// Every size in every orientation, the elements of the operands in turn, and all of them with whole tiles.
fn sweep(target: &Target, arithmetic: Arithmetic) {
    for (number, orientation) in Orientation::ALL.into_iter().enumerate() {
        for (place, size @ [m, n, _]) in SIZES.into_iter().enumerate() {
            let elems = ELEMS[(number + place) % ELEMS.len()];
            let product =
                Product { orientation, size, terms: 1, by_rows: false, chunk: n, elems, arithmetic };
            check(&product, target);
            check(&Product { terms: 3, by_rows: true, chunk: m.div_ceil(2), ..product }, target);
        }
        for (size @ [_, n, _], elems) in WHOLE.into_iter().flat_map(|size| ELEMS.map(|elems| (size, elems))) {
            let product =
                Product { orientation, size, terms: 2, by_rows: false, chunk: n, elems, arithmetic };
            check(&product, target);
        }
    }
}

/// A target and an arithmetic for each family; `by_vectors` is that of vectors of f32.
fn families(by_vectors: Arithmetic) -> [(Target, Arithmetic); 5] {
    [
        (target("-amx-tile"), by_vectors),
        (target("-amx-tile"), Arithmetic::Bf16),
        (baseline(""), Arithmetic::Bf16),
        (target("+emulate-amx"), Arithmetic::Bf16),
        (target("+emulate-amx"), Arithmetic::F32),
    ]
}

/// Blocks of A that are kept packed for all panels of B, until their last use, and not at all where there are too many.
#[test]
fn gradients_of_taps_by_every_family() {
    for (target, arithmetic) in &families(Arithmetic::F32) {
        for (size, length) in [([32, 40, 33], 5), ([17, 16, 64], 9), ([64, 34, 128], 90)] {
            for elems in [[Elem::F32, Elem::F32], [Elem::Bf16, Elem::Bf16]] {
                check_taps(size, length, elems, *arithmetic, target);
            }
        }
    }
}

fn check_taps(
    size @ [m, n, k]: [usize; 3],
    length: usize,
    elems: [Elem; 2],
    arithmetic: Arithmetic,
    target: &Target,
) {
    let program = tap_gradients(size, length, elems, arithmetic);
    let arena = run_program(&program, target, |_| ());
    let family = Family::of(arithmetic, target, [m.div_ceil(2) as u64, n as u64, k as u64], true);
    let rounds = arithmetic == Arithmetic::Bf16 && family != Family::Fma;
    let factor = |value: f64| if rounds { f64::from(bf16::round(value as f32)) } else { value };
    let [a, b] = [0, 1].map(|number| floats(&program, &arena, BufferId(number)));
    let [a, b] = [a, b].map(|values| values.into_iter().map(factor).collect::<Vec<f64>>());
    let out = floats(&program, &arena, BufferId(2));
    for (place, found) in out.iter().enumerate() {
        let (tap, row, column) = (place / (m * n), place / n % m, place % n);
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for h in (0..length).filter(|h| (1..=length).contains(&(h + tap))) {
            for depth in 0..k {
                let product = a[(h * k + depth) * m + row] * b[((h + tap - 1) * k + depth) * n + column];
                sum += product;
                magnitude += product.abs();
            }
        }
        let allowed = bound(family, k * length) * magnitude + f64::from(f32::EPSILON) * sum.abs();
        assert!(
            (found - sum).abs() <= allowed,
            "tap {tap} [{row}, {column}]: {found} instead of {sum}, {size:?} x {length} {elems:?} {target:?}"
        );
    }
}

/// Error of a convolution (`programs::windows`), the largest as a share of Σ |a|·|b|.
fn window_error(
    size @ [m, n, k]: [usize; 3],
    image @ [height, width]: [usize; 2],
    window @ Window { taps, pad, .. }: Window,
    program: &Program,
    target: &Target,
) -> f64 {
    let arena = run_program(program, target, |_| ());
    let [a, b, out] = [0, 1, 2].map(|number| floats(program, &arena, BufferId(number)));
    let columns = width + 2 * pad + 1 - taps;
    let mut worst = 0f64;
    for (place, found) in out.iter().enumerate() {
        let (y, x, row, column) =
            (place / (m * n) / columns, place / (m * n) % columns, place / n % m, place % n);
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for (i, j) in (0..taps).flat_map(|i| (0..taps).map(move |j| (i, j))) {
            if !(pad..height + pad).contains(&(y + i)) || !(pad..width + pad).contains(&(x + j)) {
                continue;
            }
            let seen = ((y + i - pad) * width + x + j - pad) * m + row;
            for depth in 0..k {
                let product = a[seen * k + depth] * b[((taps * i + j) * k + depth) * n + column];
                sum += product;
                magnitude += product.abs();
            }
        }
        assert!(found.is_finite(), "[{y}, {x}, {row}, {column}] of {size:?} {image:?} {window:?}");
        worst = worst.max((found - sum).abs() / magnitude);
    }
    worst
}

/// Whether a window, or its gradient, is computed by transformed operands.
fn transformed(program: &Program, target: &Target) -> bool {
    let path = aot::Path { program, target, manifest: b"" };
    aot::assembly(&[path]).expect("assembly").contains("winograd_")
}

/// The functions that transform patches of an operand.
fn transforms(program: &Program) -> BTreeSet<String> {
    let path = aot::Path { program, target: &target("-amx-tile"), manifest: b"" };
    let assembly = aot::assembly(&[path]).expect("assembly");
    let labels = assembly.lines().filter_map(|line| line.split_once(':')).map(|(label, _)| label);
    labels
        .filter(|label| label.starts_with("winograd_") && label.contains("_patch_"))
        .map(Into::into)
        .collect()
}

#[test]
fn images_of_all_sizes_share_the_transforms_of_their_patches() {
    let forward = |size, image| windows(size, image, square(3, 1, 4), ELEMS[0], Arithmetic::F32);
    let small = transforms(&forward([16, 32, 32], [12, 12]));
    assert!(small.len() > 1, "{small:?}");
    assert_eq!(small, transforms(&forward([16, 64, 96], [20, 16])));
}

/// Windows of 3×3 whose sums are longer than a block of k.
#[test]
fn windows_of_many_channels() {
    let window = square(3, 1, 2);
    for k in [2048, 2304, 4096] {
        let program = windows([3, 16, k], [4, 4], window, ELEMS[0], Arithmetic::F32);
        let error = window_error([3, 16, k], [4, 4], window, &program, &target("-amx-tile"));
        assert!(error <= 1e-6, "{k}: {error:e}");
    }
}

/// Images of windows, sizes of their products with borders and chunks of rows: odd ones, and such that fill no tile.
const IMAGES: [[usize; 2]; 5] = [[4, 4], [5, 7], [2, 8], [9, 3], [8, 6]];
const WINDOWS: [([usize; 3], [Window; 2]); 10] = [
    ([13, 32, 64], [square(3, 1, 2), square(3, 1, 0)]),
    ([31, 48, 128], [square(3, 1, 3), square(3, 0, 0)]),
    ([1, 17, 16], [square(3, 1, 1), square(3, 1, 5)]),
    ([27, 16, 192], [square(3, 2, 0), square(3, 2, 4)]),
    ([15, 16, 64], [square(3, 0, 2), square(3, 1, 4)]),
    // Terms that fill no vectors.
    ([13, 40, 24], [square(3, 1, 2), square(3, 1, 0)]),
    ([16, 68, 35], [square(3, 1, 4), square(3, 0, 1)]),
    ([14, 48, 32], [square(5, 2, 2), square(5, 1, 0)]),
    ([9, 40, 40], [square(5, 2, 3), square(5, 0, 2)]),
    ([26, 33, 32], [square(4, 1, 3), square(4, 2, 0)]),
];

const fn square(taps: usize, pad: usize, chunk: usize) -> Window {
    Window { taps, pad, chunk }
}

/// Error of the gradient of a window (`programs::window_gradients`), the largest as a share of Σ |a|·|b|.
fn gradient_error(
    size @ [m, n, k]: [usize; 3],
    image @ [height, width]: [usize; 2],
    (taps, b_slides): (usize, bool),
    program: &Program,
    target: &Target,
) -> f64 {
    let arena = run_program(program, target, |_| ());
    let [a, b, out] = [0, 1, 2].map(|number| floats(program, &arena, BufferId(number)));
    let pad = (taps - 1) / 2;
    let mut worst = 0f64;
    for (place, found) in out.iter().enumerate() {
        let (i, j) = (place / (taps * m * n), place / (m * n) % taps);
        let (row, column) = (place / n % m, place % n);
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            if !(pad..height + pad).contains(&(y + i)) || !(pad..width + pad).contains(&(x + j)) {
                continue;
            }
            let (stays, slid) = (y * width + x, (y + i - pad) * width + x + j - pad);
            let [of_a, of_b] = if b_slides { [stays, slid] } else { [slid, stays] };
            for depth in 0..k {
                let product = a[(of_a * k + depth) * m + row] * b[(of_b * k + depth) * n + column];
                sum += product;
                magnitude += product.abs();
            }
        }
        assert!(found.is_finite(), "[{i}, {j}, {row}, {column}] of {size:?} {image:?}");
        worst = worst.max((found - sum).abs() / magnitude);
    }
    worst
}

/// Sizes of the products of such gradients, taps along a side, and whether B slides.
const GRADIENTS: [([usize; 3], (usize, bool)); 8] = [
    ([64, 40, 33], (3, true)),
    ([27, 64, 128], (3, false)),
    ([96, 64, 150], (3, true)),
    ([70, 17, 64], (3, false)),
    // More panels of columns than are kept together, the last one narrow.
    ([128, 272, 6], (3, true)),
    ([32, 32, 17], (5, true)),
    ([20, 48, 24], (5, false)),
    ([17, 32, 32], (4, true)),
];

/// Of a program on a target, the largest as a share of Σ |a|·|b|.
type Error = dyn Fn(&Program, &Target) -> f64;

/// A product that may be computed by transformed operands.
struct Case {
    label: String,
    /// Products that an entry sums at most.
    terms: usize,
    /// What is asked of transformed operands in f32, as a share of Σ |a|·|b|.
    accuracy: f64,
    program: Box<dyn Fn([Elem; 2], Arithmetic) -> Program>,
    error: Box<Error>,
}

/// By size, image, and place: border and chunk.
fn window_cases() -> Vec<Case> {
    let places = WINDOWS.into_iter().flat_map(|(size, places)| places.map(|place| (size, place)));
    let all =
        IMAGES.into_iter().flat_map(|image| places.clone().map(move |(size, place)| (size, image, place)));
    let exists = |&(_, image, Window { taps, pad, .. }): &([usize; 3], [usize; 2], Window)| {
        image.iter().all(|extent| extent + 2 * pad >= taps)
    };
    let case = |(size, image, place): ([usize; 3], [usize; 2], Window)| Case {
        label: format!("{size:?} {image:?} {place:?}"),
        terms: place.taps * place.taps * size[2],
        // Behind a border of two, windows of three see single taps, and err like their neighbours that see all.
        accuracy: if place.pad + 1 == place.taps { 3e-6 } else { 1e-6 },
        program: Box::new(move |elems, arithmetic| windows(size, image, place, elems, arithmetic)),
        error: Box::new(move |program, target| window_error(size, image, place, program, target)),
    };
    all.filter(exists).map(case).collect()
}

fn gradient_cases() -> Vec<Case> {
    let all = IMAGES.into_iter().flat_map(|image| GRADIENTS.map(|(size, how)| (size, image, how)));
    let case = |(size, image, how): ([usize; 3], [usize; 2], (usize, bool))| Case {
        label: format!("{size:?} {image:?} {how:?}"),
        terms: how.0 * how.0 * size[2] * image[0] * image[1],
        // Five numbers from two have the errors of five results.
        accuracy: if how.0 == 5 { 2e-6 } else { 1e-6 },
        program: Box::new(move |elems, arithmetic| window_gradients(size, image, how, elems, arithmetic)),
        error: Box::new(move |program, target| gradient_error(size, image, how, program, target)),
    };
    all.map(case).collect()
}

/// In f32, on vectors of every width, transformed operands are as good as asked, or no worse than multiply-adds.
fn err_little_in_f32(cases: &[Case]) {
    for target in &[target("-amx-tile"), baseline("+avx2,+fma"), baseline(""), target("+emulate-amx")] {
        let mut ours_used = 0;
        for Case { label, terms, accuracy, program, error } in cases {
            let [ours, chain] =
                [Arithmetic::F32, Arithmetic::Fma].map(|arithmetic| program(ELEMS[0], arithmetic));
            ours_used += usize::from(transformed(&ours, target));
            let [ours, chain] = [ours, chain].map(|program| error(&program, target));
            let bound = *terms as f64 * f64::from(f32::EPSILON);
            assert!(ours <= accuracy.max(chain) && chain <= bound, "{ours:e} {chain:e}: {label} {target:?}");
        }
        // Three planes are faster than multiply-adds: fewer windows pay beside them.
        let least = if target.emulates_tiles() { 1 } else { 6 };
        assert!(ours_used >= least, "transforms were chosen {ours_used} times: {target:?}");
    }
}

/// What rounding two operands to bf16 may change a product by, as a share of it.
const ROUNDING: f64 = 1.0 / 256.0;

/// In bf16, of operands that are bf16 already or not: no worse than if both were rounded once (more).
fn err_like_rounded_operands(cases: &[Case]) {
    let target = target("-amx-tile");
    if !target.has_bf16() {
        return eprintln!("skipped: this machine has no instructions for bf16");
    }
    let mut ours_used = 0;
    for elems in ELEMS {
        for Case { label, program, error, .. } in cases {
            let program = program(elems, Arithmetic::Bf16);
            ours_used += usize::from(transformed(&program, &target));
            let error = error(&program, &target);
            assert!(error <= ROUNDING, "{error:e}: {label} {elems:?}");
        }
    }
    assert!(ours_used >= 24, "transforms were chosen {ours_used} times");
}

/// Few samples, whose rows of neighbouring positions are one product where that fills tiles or vectors.
#[test]
fn windows_of_few_samples_by_every_family() {
    let ways = families(Arithmetic::Fma);
    for (m, pad) in [1, 2, 3, 8, 17, 40].into_iter().flat_map(|m| [0, 1].map(|pad| (m, pad))) {
        let (size, image, window) = ([m, 34, 32], [6, 11], square(3, pad, 4));
        for ((target, arithmetic), elems) in ways.iter().flat_map(|way| ELEMS.map(|elems| (way, elems))) {
            let program = windows(size, image, window, elems, *arithmetic);
            let error = window_error(size, image, window, &program, target);
            let chain = (9 * size[2]) as f64 * f64::from(f32::EPSILON);
            let bound = if *arithmetic == Arithmetic::Bf16 { ROUNDING } else { chain };
            assert!(error <= bound, "{error:e}: {m} samples, border {pad}, {elems:?}, {target:?}");
        }
    }
}

#[test]
fn windows_err_little_in_f32() {
    err_little_in_f32(&window_cases());
}

#[test]
fn gradients_of_windows_err_little_in_f32() {
    err_little_in_f32(&gradient_cases());
}

#[test]
fn windows_of_bf16_err_like_rounded_operands() {
    err_like_rounded_operands(&window_cases());
}

#[test]
fn gradients_of_windows_of_bf16_err_like_rounded_operands() {
    err_like_rounded_operands(&gradient_cases());
}

#[test]
fn rounded_operands_on_any_machine() {
    sweep(&baseline(""), Arithmetic::Bf16);
    sweep(&target("-avx512bf16,-amx-tile"), Arithmetic::Bf16);
}

#[test]
fn dot_products_of_pairs() {
    let target = target("-amx-tile");
    if !target.has_bf16() {
        return eprintln!("skipped: this machine has no instructions for bf16");
    }
    sweep(&target, Arithmetic::Bf16);
}

#[test]
fn f32_by_multiply_adds_reads_halves_too() {
    sweep(&target("-amx-tile"), Arithmetic::Fma);
}

#[test]
fn tiles_of_bf16() {
    sweep(&target("+emulate-amx"), Arithmetic::Bf16);
}

#[test]
fn tiles_of_bf16_with_narrow_vectors() {
    sweep(&baseline("+emulate-amx"), Arithmetic::Bf16);
}

#[test]
fn tiles_of_split_f32() {
    sweep(&target("+emulate-amx"), Arithmetic::F32);
}

#[test]
fn tiles_of_split_f32_with_narrow_vectors() {
    sweep(&baseline("+emulate-amx"), Arithmetic::F32);
}

/// Panels of B that are packed together, in one group (tiles of A one at a time) and in several, with a narrower last one in either,
/// for whole sums and for those cut into blocks; results row by row and, where columns have something to compute, tile by tile.
#[test]
fn groups_of_panels() {
    for orientation in Orientation::ALL {
        let sizes = [[20, 230, 900], [33, 320, 1900], [33, 141, 4500], [50, 100, 900]];
        let sizes = sizes.map(|size| (size, Elem::F32));
        for (size @ [_, n, _], elem) in sizes.into_iter().chain([([14, 100, 900], Elem::Bf16)]) {
            for (target, arithmetic, _) in ways() {
                let elems = [Elem::F32, elem];
                let product =
                    Product { orientation, size, terms: 1, by_rows: false, chunk: n, elems, arithmetic };
                check(&product, &target);
                check_program(&product, &product.with_squares(), |bias| bias * bias, &target);
                // Several tasks: the operand that all of them need stays packed.
                check(&Product { chunk: 96, ..product }, &target);
                check(&Product { by_rows: true, chunk: 16, ..product }, &target);
            }
        }
    }
}

/// Long sums are cut into blocks; there a split f32 is closer than a chain of multiply-adds.
#[test]
fn long_sums() {
    let emulated = target("+emulate-amx");
    let chain = target("-amx-tile");
    for orientation in Orientation::ALL {
        let product = |arithmetic| Product {
            orientation,
            size: [19, 21, 4999],
            terms: 1,
            by_rows: false,
            chunk: 21,
            elems: [Elem::F32; 2],
            arithmetic,
        };
        for target in [&emulated, &chain, &baseline("")] {
            check(&product(Arithmetic::Bf16), target);
        }
        let split = check(&product(Arithmetic::F32), &emulated);
        let plain = check(&product(Arithmetic::F32), &chain);
        assert!(split < plain, "{orientation:?}: {split} by planes, {plain} by multiply-adds");
    }
    assert!(emulated.has(EMULATE_TILES));
}

/// Where operands lie contiguous along k, and where they do not; whether the entry is one of B.
const PLACES: [(Orientation, bool); 4] = [
    (Orientation::Forward, false),
    (Orientation::Forward, true),
    (Orientation::Weight, false),
    (Orientation::Weight, true),
];

/// One entry of an operand is `special`, the later one of a pair along k; the results of its row (or column, if it is one of B).
fn line_with(
    special: f32,
    (orientation, of_b): (Orientation, bool),
    arithmetic: Arithmetic,
    target: &Target,
) -> Vec<f64> {
    let size @ [m, n, _] = [18, 33, 40];
    let elems = [Elem::F32; 2];
    let product = Product { orientation, size, terms: 1, by_rows: false, chunk: n, elems, arithmetic };
    let program = product.program();
    let (line, depth) = (3, 7);
    let [(row, along_a), (along_b, column)] = strides(orientation, size);
    let at = match of_b {
        true => program.buffers[1].offset + 4 * (depth * along_b + line * column),
        false => program.buffers[0].offset + 4 * (line * row + depth * along_a),
    };
    let arena =
        run_program(&program, target, |bytes| bytes[at..at + 4].copy_from_slice(&special.to_le_bytes()));
    let out = floats(&program, &arena, BufferId(3));
    let own = |entry: &usize| if of_b { entry % n == line } else { entry / n == line };
    let (own, others): (Vec<usize>, Vec<usize>) = (0..m * n).partition(own);
    assert!(others.iter().all(|&entry| out[entry].is_finite()), "{special} spreads to other lines");
    own.into_iter().map(|entry| out[entry]).collect()
}

/// Every way, with whether it splits operands.
fn ways() -> Vec<(Target, Arithmetic, bool)> {
    let (emulated, plain) = (target("+emulate-amx"), target("-amx-tile"));
    vec![
        (emulated.clone(), Arithmetic::F32, true),
        (emulated, Arithmetic::Bf16, false),
        (plain.clone(), Arithmetic::F32, false),
        (plain, Arithmetic::Bf16, false),
        (baseline(""), Arithmetic::Bf16, false),
    ]
}

#[test]
fn what_is_not_finite_does_not_become_finite() {
    for ((target, arithmetic, splits), place) in
        ways().iter().flat_map(|way| PLACES.map(|place| (way, place)))
    {
        let line = |special| line_with(special, place, *arithmetic, target);
        // The epilogue max(sum, 0) makes zeros of -inf and keeps NaN.
        let infinite = line(f32::INFINITY);
        let fits = |value: &f64| value.is_nan() && *splits || *value == f64::INFINITY || *value == 0.0;
        assert!(infinite.iter().all(fits), "{infinite:?}");
        assert!(infinite.iter().any(|value| !value.is_finite()), "{infinite:?}");
        // The second one's payload lies in the lower half alone.
        for special in [f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0x7fff_ffff)] {
            let nan = line(special);
            assert!(nan.iter().all(|value| value.is_nan()), "{arithmetic:?} {place:?} {target:?}: {nan:?}");
        }
    }
}

/// Neither subnormal ones, nor those whose parts are.
#[test]
fn small_numbers_do_no_harm() {
    for ((target, arithmetic, _), place) in ways().iter().flat_map(|way| PLACES.map(|place| (way, place))) {
        let line = |special| line_with(special, place, *arithmetic, target);
        for small in [1e-40, f32::from_bits(0x7fff), 3e-37, 6.1e-36, -1e-34] {
            assert_eq!(line(small), line(0.0), "{small:e} {arithmetic:?} {place:?} {target:?}");
        }
    }
}

/// Assembly for a processor that this machine need not be.
fn assembly(arithmetic: Arithmetic, elem: Elem, changes: &str) -> String {
    let mut target = Target::of_triple("x86_64-unknown-linux-gnu");
    target.features = Target::choose(Some("x86-64-v4"), Some(changes)).expect("known").features;
    let (orientation, elems) = (Orientation::Forward, [elem, Elem::F32]);
    let product = Product {
        orientation,
        size: [128, 128, 64],
        terms: 1,
        by_rows: false,
        chunk: 128,
        elems,
        arithmetic,
    };
    let path = aot::Path { program: &product.program(), target: &target, manifest: b"" };
    aot::assembly(&[path]).expect("assembly")
}

#[test]
fn tile_instructions_are_used_where_they_exist() {
    const TILES: &str = "+amx-tile,+amx-bf16,+avx512bf16";
    for (arithmetic, elem, products) in [
        // A kernel of 2×2 tiles; a split one adds six products for each.
        (Arithmetic::Bf16, Elem::Bf16, 4),
        (Arithmetic::Bf16, Elem::F32, 4),
        (Arithmetic::F32, Elem::F32, 24),
    ] {
        let code = assembly(arithmetic, elem, TILES);
        let count = |instruction: &str| code.matches(instruction).count();
        assert_eq!(count("tdpbf16ps"), products, "{code}");
        for instruction in ["ldtilecfg", "tilerelease"] {
            assert_eq!(count(instruction), 1, "{instruction}\n{code}");
        }
        assert_eq!(count("tilezero"), 4, "{code}");
        assert_eq!(count("tilestored"), 4, "{code}");
        assert!(count("tileloadd") >= 8, "{code}");
        assert!(!code.contains("vfmadd"), "{code}");
    }
    let strict = assembly(Arithmetic::Fma, Elem::F32, TILES);
    assert!(strict.contains("vfmadd") && !strict.contains("tdpbf16ps"), "{strict}");
}

#[test]
fn dot_products_are_used_where_they_exist() {
    let code = assembly(Arithmetic::Bf16, Elem::Bf16, "+avx512bf16");
    assert!(code.contains("vdpbf16ps") && !code.contains("vfmadd"), "{code}");
    let without = assembly(Arithmetic::Bf16, Elem::Bf16, "");
    assert!(without.contains("vfmadd") && !without.contains("vdpbf16ps"), "{without}");
}
