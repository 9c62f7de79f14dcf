//! Lowered programs, run by the loop interpreter, compute what the expressions mean.

use std::collections::HashMap;

use blkc::axes::{Axis, AxisTable, BATCH};
use blkc::codegen::jit::Jit;
use blkc::codegen::llvm;
use blkc::codegen::target::Target;
use blkc::hessian::{Plan, Routine, Symbols, Write};
use blkc::loops::{Arithmetic, BufferId, Elem, Inst, Program, Scalars, Stmt, interpret, verify};
use blkc::lower::{Lowered, Options, lower};
use blkc::sym::{Expr, Graph, Reduction, Storage, Symbol, SymbolInfo, Tensor, evaluate};
use proptest::prelude::*;

/// A graph under construction, with its assignments.
struct Case {
    graph: Graph,
    writes: Vec<(Symbol, Expr)>,
}

impl Case {
    fn new(batch: usize) -> Self {
        Case { graph: Graph::new(AxisTable::new(batch)), writes: vec![] }
    }

    fn axis(&mut self, extent: usize) -> Axis {
        self.graph.axes.fresh(format!("n{extent}"), extent)
    }

    fn stored(&mut self, name: &str, axes: &[Axis], storage: Storage) -> Symbol {
        let info = SymbolInfo { name: name.into(), label: name.into(), axes: axes.to_vec(), storage };
        self.graph.new_symbol(info)
    }

    fn symbol(&mut self, name: &str, axes: &[Axis]) -> Symbol {
        self.stored(name, axes, Storage::Float)
    }

    fn tensor(&mut self, name: &str, axes: &[Axis]) -> Expr {
        let symbol = self.symbol(name, axes);
        self.graph.symbol(symbol)
    }

    /// A new symbol that is assigned `value`.
    fn output(&mut self, name: &str, value: Expr) {
        let axes = self.graph.axes_of(value).to_vec();
        let symbol = self.symbol(name, &axes);
        self.writes.push((symbol, value));
    }

    fn plan(&self) -> Plan {
        let unused = Symbol(0);
        let symbols = Symbols {
            input: unused,
            target: unused,
            params: vec![],
            stats: vec![],
            states: vec![],
            hypers: vec![],
            step: unused,
            seed: [unused; 2],
            loss: unused,
            accuracy: None,
            sample_loss: unused,
            sample_hit: None,
            output: unused,
            gradients: vec![],
            share: None,
            first_sample: None,
            time: unused,
            total_time: unused,
            multiplier: unused,
            m_z: vec![],
            m: vec![],
            m_w: vec![],
        };
        let writes = self.writes.iter().map(|&(symbol, value)| Write { symbol, value }).collect();
        let routines = vec![Routine { name: "train", writes }];
        Plan { graph: self.graph.clone(), symbols, routines, blocks: vec![] }
    }

    fn lower(&self) -> Lowered {
        self.lower_with(Arithmetic::F32)
    }

    fn lower_with(&self, arithmetic: Arithmetic) -> Lowered {
        let lowered = lower(&self.plan(), &Options { arithmetic, ..Options::default() }).expect("lowers");
        verify::verify(&lowered.program).unwrap_or_else(|problems| panic!("{problems:#?}"));
        lowered
    }

    /// Lowers, runs by the interpreter, and compares every symbol with the evaluated expressions.
    fn check(&self) -> Program {
        let lowered = self.lower();
        let run = |arena: &mut [u8]| interpret::run(&lowered.program, "train", arena);
        self.check_run(&lowered, run);
        lowered.program
    }

    /// The same by the interpreter and by machine code.
    fn check_compiled(&self) {
        let program = self.check();
        let target = Target::native();
        let jit = Jit::new(&program, &target).expect("compiles");
        let mut scratch = aligned(llvm::scratch_bytes(&program, &target));
        let run = |arena: &mut [u8]| {
            let mut memory = aligned(arena.len());
            let bytes = bytes(&mut memory, arena.len());
            bytes.copy_from_slice(arena);
            // SAFETY: both are as large as the program asks for, and aligned.
            unsafe { jit.run(&program, "train", bytes.as_mut_ptr(), scratch.as_mut_ptr().cast()) };
            arena.copy_from_slice(bytes);
        };
        self.check_run(&self.lower(), run);
    }

    /// Memory with entries for every symbol, and these.
    fn start(&self, lowered: &Lowered) -> (Vec<u8>, HashMap<Symbol, Tensor>) {
        let mut arena = vec![0u8; lowered.program.arena_bytes];
        let mut values = HashMap::new();
        for (symbol, info) in self.graph.symbols() {
            let entries = entries(symbol, self.graph.axes.size(&info.axes), info.storage);
            write(&mut arena, lowered.symbol_offsets[&symbol], info.storage, &entries);
            values.insert(symbol, Tensor::new(&self.graph.axes, &info.axes, entries));
        }
        (arena, values)
    }

    fn check_run(&self, lowered: &Lowered, run: impl FnOnce(&mut [u8])) {
        let (mut arena, mut values) = self.start(lowered);
        run(&mut arena);
        let roots: Vec<Expr> = self.writes.iter().map(|write| write.1).collect();
        let results = evaluate(&self.graph, &values, &roots);
        values.extend(self.writes.iter().map(|write| write.0).zip(results));
        for (symbol, info) in self.graph.symbols() {
            let expected = values[&symbol].along(&self.graph.axes, &info.axes);
            let offset = lowered.symbol_offsets[&symbol];
            compare(
                &info.name,
                &read(&arena, offset, info.storage, expected.len()),
                expected.iter().copied(),
            );
        }
    }
}

/// Memory of at least `size` bytes that starts at a cache line.
fn aligned(size: usize) -> Vec<Line> {
    vec![Line([0; 64]); size.div_ceil(64).max(1)]
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

fn bytes(lines: &mut [Line], size: usize) -> &mut [u8] {
    assert!(size <= size_of_val(lines));
    // SAFETY: lines are plain bytes, and there are enough of them.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size) }
}

fn compare(name: &str, actual: &[f64], expected: impl Iterator<Item = f64> + Clone) {
    let largest = expected.clone().fold(1.0, |largest: f64, entry| largest.max(entry.abs()));
    for (index, (have, want)) in actual.iter().zip(expected).enumerate() {
        let close = (have - want).abs() <= 2e-4 * largest || (have.is_nan() && want.is_nan());
        assert!(close, "{name}[{index}]: {have} instead of {want}");
    }
}

/// Numbers away from zero, different for every symbol and entry.
fn entries(symbol: Symbol, count: usize, storage: Storage) -> Vec<f64> {
    let number = |index: usize| {
        let hash = (index as u32).wrapping_mul(0x9E37_79B1) ^ (symbol.0 + 1).wrapping_mul(0x85EB_CA6B);
        let hash = (hash ^ (hash >> 15)).wrapping_mul(0xC2B2_AE35);
        let unit = f64::from(hash >> 8) / f64::from(1 << 24);
        match storage {
            Storage::Float | Storage::Double => f64::from((0.25 + unit) as f32),
            Storage::Label => f64::from(hash % 3),
            Storage::Seed => f64::from(hash >> 8),
        }
    };
    (0..count).map(number).collect()
}

fn write(arena: &mut [u8], offset: usize, storage: Storage, entries: &[f64]) {
    let bytes: Vec<u8> = match storage {
        Storage::Float => entries.iter().flat_map(|&entry| (entry as f32).to_ne_bytes()).collect(),
        Storage::Double => entries.iter().flat_map(|entry| entry.to_ne_bytes()).collect(),
        _ => entries.iter().flat_map(|&entry| (entry as i32).to_ne_bytes()).collect(),
    };
    arena[offset..offset + bytes.len()].copy_from_slice(&bytes);
}

fn read(arena: &[u8], offset: usize, storage: Storage, count: usize) -> Vec<f64> {
    let words = |width: usize| arena[offset..offset + count * width].chunks_exact(width);
    let word = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).unwrap();
    match storage {
        Storage::Float => words(4).map(|bytes| f64::from(f32::from_ne_bytes(word(bytes)))).collect(),
        Storage::Double => words(8).map(|bytes| f64::from_ne_bytes(bytes.try_into().unwrap())).collect(),
        _ => words(4).map(|bytes| f64::from(i32::from_ne_bytes(word(bytes)))).collect(),
    }
}

/// A smooth activation from powers alone: a/√(1 + a²).
fn activation(graph: &mut Graph, a: Expr) -> Expr {
    let one = graph.number(1.0);
    let square = graph.square(a);
    let sum = graph.add(&[one, square]);
    let scale = graph.powf(sum, -0.5);
    graph.mul(&[a, scale])
}

/// (x − mean)/√(var + ε)·γ + β over the batch, and its parameters.
fn normalized(case: &mut Case, name: &str, x: Expr) -> (Expr, [Symbol; 2]) {
    let features: Vec<Axis> = case.graph.axes_of(x)[1..].to_vec();
    let gain = case.symbol(&format!("{name}.gamma"), &features);
    let shift = case.symbol(&format!("{name}.beta"), &features);
    let graph = &mut case.graph;
    let mean = graph.mean(&[BATCH], x);
    let centred = graph.sub(x, mean);
    let square = graph.square(centred);
    let variance = graph.mean(&[BATCH], square);
    let epsilon = graph.number(1e-3);
    let guarded = graph.add(&[variance, epsilon]);
    let inverse = graph.powf(guarded, -0.5);
    let (gain_value, shift_value) = (graph.symbol(gain), graph.symbol(shift));
    let scaled = graph.mul(&[centred, inverse, gain_value]);
    (graph.add(&[scaled, shift_value]), [gain, shift])
}

/// A whole training step of a network with batch normalization after every hidden layer, and momentum.
fn training_step(batch: usize, widths: &[usize]) -> Case {
    let mut case = Case::new(batch);
    let axes: Vec<Axis> = widths.iter().map(|&width| case.axis(width)).collect();
    let last = axes[axes.len() - 1];
    let mut z = case.tensor("x", &[BATCH, axes[0]]);
    let target = case.tensor("y", &[BATCH, last]);
    let mut params = Vec::new();
    for (index, pair) in axes.windows(2).enumerate() {
        let weight = case.symbol(&format!("W{index}"), &[pair[1], pair[0]]);
        params.push(weight);
        let weight = case.graph.symbol(weight);
        z = case.graph.contract(z, weight, &[pair[0]]);
        if index + 2 < axes.len() {
            let (normal, more) = normalized(&mut case, &format!("bn{index}"), z);
            params.extend(more);
            z = activation(&mut case.graph, normal);
        }
    }
    let error = case.graph.sub(z, target);
    let square = case.graph.square(error);
    let per_sample = case.graph.sum(&[last], square);
    let loss = case.graph.mean(&[BATCH], per_sample);
    momentum_updates(&mut case, loss, &params);
    case.output("loss", loss);
    case
}

fn momentum_updates(case: &mut Case, loss: Expr, params: &[Symbol]) {
    let (rate, decay) = (case.stored("lr", &[], Storage::Double), case.stored("mu", &[], Storage::Double));
    let values: Vec<Expr> = params.iter().map(|&param| case.graph.symbol(param)).collect();
    let one = case.graph.number(1.0);
    let gradients = case.graph.vjp(&[(loss, one)], &values);
    for (&param, value) in params.iter().zip(values) {
        let info = case.graph.symbol_info(param).clone();
        let state = case.symbol(&format!("v.{}", info.name), &info.axes);
        let graph = &mut case.graph;
        let (old, rate, decay) = (graph.symbol(state), graph.symbol(rate), graph.symbol(decay));
        let kept = graph.mul(&[decay, old]);
        let velocity = graph.add(&[kept, gradients[&value]]);
        let step = graph.mul(&[rate, velocity]);
        let renewed = graph.sub(value, step);
        case.writes.push((state, velocity));
        case.writes.push((param, renewed));
    }
}

fn statements(program: &Program) -> impl Iterator<Item = &Stmt> {
    let levels = program.routines.iter().flat_map(|routine| &routine.levels);
    levels.flat_map(|level| &level.groups).flat_map(|group| &group.body)
}

#[test]
fn elementwise_chains_are_one_nest() {
    let mut case = Case::new(5);
    let f = case.axis(7);
    let (x, b) = (case.tensor("x", &[BATCH, f]), case.tensor("b", &[f]));
    let sum = case.graph.add(&[x, b]);
    let value = activation(&mut case.graph, sum);
    case.output("out", value);
    assert_eq!(statements(&case.check()).count(), 1);
}

#[test]
fn powers_take_every_exponent() {
    let mut case = Case::new(19);
    let x = case.tensor("x", &[BATCH]);
    for exponent in [-2.0, -1.5, -1.0, -0.5, 0.5, 1.5, 2.0, 3.0, 7.0, 0.3, -2.7] {
        let value = case.graph.powf(x, exponent);
        case.output(&format!("p{exponent}"), value);
    }
    case.check();
}

#[test]
fn products_of_every_orientation() {
    for (m, n, k) in [(32, 17, 24), (8, 8, 64), (5, 3, 2), (1, 9, 33), (9, 1, 33), (40, 64, 5)] {
        let mut case = Case::new(m);
        let (out, inner) = (case.axis(n), case.axis(k));
        let (x, w) = (case.tensor("x", &[BATCH, inner]), case.tensor("w", &[out, inner]));
        let y = case.graph.contract(x, w, &[inner]);
        let back = case.graph.contract(y, w, &[out]);
        let gradient = case.graph.contract(y, x, &[BATCH]);
        case.output("y", y);
        case.output("back", back);
        case.output("gradient", gradient);
        case.check();
    }
}

#[test]
fn products_over_several_axes() {
    let mut case = Case::new(12);
    let (c, h, o) = (case.axis(5), case.axis(6), case.axis(16));
    let x = case.tensor("x", &[BATCH, c, h]);
    for (name, axes) in [("w", [o, c, h]), ("u", [c, o, h]), ("v", [h, o, c])] {
        let w = case.tensor(name, &axes);
        let y = case.graph.contract(x, w, &[c, h]);
        case.output(&format!("y{name}"), y);
        let back = case.graph.contract(y, w, &[o]);
        case.output(&format!("back{name}"), back);
        let gradient = case.graph.contract(y, x, &[BATCH]);
        case.output(&format!("gradient{name}"), gradient);
    }
    case.check();
}

#[test]
fn products_of_computed_operands_with_an_epilogue() {
    let mut case = Case::new(24);
    let (out, inner) = (case.axis(16), case.axis(40));
    let (x, w) = (case.tensor("x", &[BATCH, inner]), case.tensor("w", &[out, inner]));
    let b = case.tensor("b", &[out]);
    let input = activation(&mut case.graph, x);
    let y = case.graph.contract(input, w, &[inner]);
    let shifted = case.graph.add(&[y, b]);
    let z = activation(&mut case.graph, shifted);
    case.output("z", z);
    assert_eq!(statements(&case.check()).count(), 2, "the operand, and the product with its epilogue");
}

#[test]
fn reductions_along_either_axis_and_all() {
    let mut case = Case::new(33);
    let f = case.axis(21);
    let x = case.tensor("x", &[BATCH, f]);
    for (name, how) in [("sum", Reduction::Sum), ("mean", Reduction::Mean), ("max", Reduction::Max)] {
        for (place, over) in [("batch", vec![BATCH]), ("f", vec![f]), ("all", vec![BATCH, f])] {
            let value = case.graph.reduce(how, &over, x);
            case.output(&format!("{name}.{place}"), value);
        }
    }
    case.check();
}

fn sum_of_squares(batch: usize, features: usize) -> Case {
    let mut case = Case::new(batch);
    let f = case.axis(features);
    let x = case.tensor("x", &[BATCH, f]);
    let square = case.graph.square(x);
    let sum = case.graph.sum(&[BATCH, f], square);
    case.output("sum", sum);
    case
}

#[test]
fn large_reductions_to_a_scalar_go_in_two_steps() {
    assert_eq!(sum_of_squares(128, 100).check().routines[0].levels.len(), 2);
    let program = sum_of_squares(4096, 4096).lower().program;
    assert!(program.routines[0].levels[0].groups[0].tasks() > 1, "the first step is shared");
}

#[test]
fn large_reductions_to_a_few_entries_are_shared() {
    let sum_of = |batch: usize| {
        let mut case = Case::new(batch);
        let [h, f] = [32, 16].map(|extent| case.axis(extent));
        let x = case.tensor("x", &[BATCH, h, f]);
        let square = case.graph.square(x);
        let sum = case.graph.sum(&[BATCH, h], square);
        case.output("sum", sum);
        case
    };
    assert_eq!(sum_of(64).check().routines[0].levels.len(), 2);
    let program = sum_of(1 << 14).lower().program;
    assert!(program.routines[0].levels[0].groups[0].tasks() > 1, "the first step is shared");
}

/// A tensor less its mean over samples and 32 rows h, and its other axes: h and features.
fn centred(batch: usize, features: usize) -> (Case, Expr, [Axis; 2]) {
    let mut case = Case::new(batch);
    let [h, f] = [32, features].map(|extent| case.axis(extent));
    let x = case.tensor("x", &[BATCH, h, f]);
    let mean = case.graph.mean(&[BATCH, h], x);
    case.output("mean", mean);
    let centred = case.graph.sub(x, mean);
    (case, centred, [h, f])
}

#[test]
fn a_large_variance_sees_its_entries_on_one_level() {
    for how in [Reduction::Mean, Reduction::Sum] {
        let (mut case, centred, [h, _]) = centred(64, 16);
        let square = case.graph.square(centred);
        let spread = case.graph.reduce(how, &[BATCH, h], square);
        case.output("spread", spread);
        assert_eq!(case.check().routines[0].levels.len(), 2, "rows, and what they make together");
    }
}

#[test]
fn deviations_from_the_mean_of_a_large_reduction_are_not_summed() {
    let (mut case, centred, [h, f]) = centred(64, 16);
    let g = case.tensor("g", &[BATCH, h, f]);
    let [a, b] = ["a", "b"].map(|name| case.tensor(name, &[f]));
    let [of_g, of_x] = [case.graph.mul(&[a, g]), case.graph.mul(&[b, centred])];
    let both = case.graph.add(&[of_g, of_x]);
    let sum = case.graph.sum(&[BATCH, h], both);
    case.output("sum", sum);
    assert_eq!(case.check().routines[0].levels.len(), 2, "no sum waits for the mean");
}

#[test]
fn statistics_of_rows_stay_f32() {
    let (mut case, centred, [h, _]) = centred(128, 96);
    let square = case.graph.square(centred);
    let variance = case.graph.mean(&[BATCH, h], square);
    case.output("variance", variance);
    let program = case.lower_with(Arithmetic::Bf16).program;
    assert!(program.buffers.iter().all(|buffer| buffer.elem == Elem::F32), "{:?}", program.buffers);
}

#[test]
fn a_maximum_is_one_of_its_entries_in_any_precision() {
    // Entries that are assigned to a symbol of f32 keep their digits; others may be bf16.
    for assigned in [true, false] {
        let mut case = Case::new(256);
        let [h, f, g] = [32, 32, 32].map(|extent| case.axis(extent));
        let (x, w) = (case.tensor("x", &[BATCH, h, f]), case.tensor("w", &[f, g]));
        let y = case.graph.contract(x, w, &[f]);
        let largest = case.graph.reduce(Reduction::Max, &[g], y);
        let reached = apply(&mut case.graph, "le", &[largest, y]);
        let [one, zero] = [1.0, 0.0].map(|number| case.graph.number(number));
        let reached = apply(&mut case.graph, "where", &[reached, one, zero]);
        let count = case.graph.sum(&[g], reached);
        case.output("count", count);
        if assigned {
            case.output("y", y);
        }
        let lowered = case.lower_with(Arithmetic::Bf16);
        let (mut arena, _) = case.start(&lowered);
        interpret::run(&lowered.program, "train", &mut arena);
        let offset = lowered.symbol_offsets[&case.writes[0].0];
        let counts = read(&arena, offset, Storage::Float, 256 * 32);
        assert!(counts.iter().all(|&count| count >= 1.0), "some maximum is none of its entries");
    }
}

#[test]
fn renamed_reshaped_and_spread_values() {
    let mut case = Case::new(6);
    let (h, w, f, g) = (case.axis(4), case.axis(5), case.axis(20), case.axis(20));
    let x = case.tensor("x", &[BATCH, h, w]);
    let flat = case.graph.reshape(x, &[h, w], &[f]);
    let doubled = case.graph.add(&[flat, flat]);
    let other = case.graph.rename(doubled, &[(f, g)]);
    let spread = case.graph.spread(other, &[f]);
    let product = case.graph.mul(&[spread, flat]);
    let image = case.graph.reshape(doubled, &[f], &[w, h]);
    case.output("product", product);
    case.output("image", image);
    case.output("renamed", other);
    case.check();
}

#[test]
fn assignments_read_the_old_values() {
    let mut case = Case::new(4);
    let (f, g) = (case.axis(6), case.axis(6));
    let (a, b, square) = (case.symbol("a", &[f]), case.symbol("b", &[f]), case.symbol("s", &[f, g]));
    let (old_a, old_b, old_square) = (case.graph.symbol(a), case.graph.symbol(b), case.graph.symbol(square));
    let transposed = case.graph.rename(old_square, &[(f, g), (g, f)]);
    let sum = case.graph.add(&[old_square, transposed]);
    let total = case.graph.sum(&[f], old_a);
    let shifted = case.graph.mul(&[total, old_b]);
    case.writes.extend([(a, shifted), (b, old_a), (square, sum)]);
    case.check();
}

#[test]
fn scalars_are_computed_in_f64() {
    let mut case = Case::new(3);
    let beta = case.stored("beta", &[], Storage::Double);
    let step = case.stored("step", &[], Storage::Double);
    let x = case.tensor("x", &[BATCH]);
    let graph = &mut case.graph;
    let (beta, step) = (graph.symbol(beta), graph.symbol(step));
    let power = graph.pow(beta, step);
    let one = graph.number(1.0);
    let correction = graph.sub(one, power);
    let value = graph.div(x, correction);
    case.output("corrected", value);
    let program = case.check();
    assert!(program.buffers.iter().any(|buffer| buffer.elem == Elem::F64 && !buffer.persistent));
}

#[test]
fn random_numbers_follow_the_recipe() {
    let mut case = Case::new(9);
    let f = case.axis(13);
    let seed = case.stored("seed", &[], Storage::Seed);
    let step = case.stored("step", &[], Storage::Double);
    let counters = [case.graph.symbol(seed), case.graph.symbol(step)];
    let numbers = case.graph.random(4, &counters, &[BATCH, f]);
    case.output("numbers", numbers);
    case.check();
}

fn apply(graph: &mut Graph, name: &str, args: &[Expr]) -> Expr {
    let scalar = blkc::intrinsics::scalar_by_name(name).expect("is in the registry");
    graph.apply(scalar, args)
}

#[test]
fn conditions_select_count_and_survive_memory() {
    let mut case = Case::new(18);
    let f = case.axis(11);
    let (x, y) = (case.tensor("x", &[BATCH, f]), case.tensor("y", &[BATCH, f]));
    let graph = &mut case.graph;
    let less = apply(graph, "lt", &[x, y]);
    let picked = apply(graph, "where", &[less, x, y]);
    let share = graph.mean(&[f], less);
    let masked = graph.mul(&[less, picked]);
    let flat = graph.axes.fresh("flat", 18 * 11);
    let kept = graph.reshape(less, &[BATCH, f], &[flat]);
    let (first, second) = (graph.reshape(x, &[BATCH, f], &[flat]), graph.reshape(y, &[BATCH, f], &[flat]));
    let again = apply(graph, "where", &[kept, second, first]);
    for (name, value) in [("picked", picked), ("share", share), ("masked", masked), ("again", again)] {
        case.output(name, value);
    }
    case.check();
}

#[test]
fn general_powers_keep_signs() {
    let mut case = Case::new(23);
    let (x, y) = (case.tensor("x", &[BATCH]), case.tensor("y", &[BATCH]));
    let graph = &mut case.graph;
    let minus = graph.neg(x);
    let ten = graph.number(10.0);
    let scaled = graph.mul(&[ten, y]);
    let whole = apply(graph, "floor", &[scaled]);
    for (name, base, exponent) in [("plain", x, y), ("whole", minus, whole)] {
        let power = case.graph.pow(base, exponent);
        case.output(name, power);
    }
    case.check();
}

/// Softmax cross-entropy over labels behind a linear layer, with hits, and one step of gradient descent.
fn classifier(batch: usize, inputs: usize, hidden: usize, classes: usize) -> Case {
    let mut case = Case::new(batch);
    let (d, h, k) = (case.axis(inputs), case.axis(hidden), case.axis(classes));
    let x = case.tensor("x", &[BATCH, d]);
    let label = case.stored("label", &[BATCH], Storage::Label);
    let params = [
        case.symbol("V", &[h, d]),
        case.symbol("W", &[k, h]),
        case.symbol("b", &[k]),
        case.symbol("c", &[h]),
    ];
    let graph = &mut case.graph;
    let [first, second, bias, shift] = params.map(|param| graph.symbol(param));
    let (zero, label) = (graph.number(0.0), graph.symbol(label));
    let a = graph.contract(x, first, &[d]);
    let shifted = graph.sub(a, shift);
    let z = apply(graph, "max", &[shifted, zero]);
    let product = graph.contract(z, second, &[h]);
    let small = graph.number(1.0 / (inputs * hidden) as f64);
    let scaled = graph.mul(&[small, product]);
    let logits = graph.add(&[scaled, bias]);
    let largest = graph.reduce(Reduction::Max, &[k], logits);
    let position = graph.index(k);
    let chosen = apply(graph, "eq", &[position, label]);
    let own_logit = apply(graph, "where", &[chosen, logits, zero]);
    let own = graph.sum(&[k], own_logit);
    let hit = apply(graph, "eq", &[own, largest]);
    let accuracy = graph.mean(&[BATCH], hit);
    let powers = apply(graph, "exp", &[logits]);
    let total = graph.sum(&[k], powers);
    let normalizer = apply(graph, "log", &[total]);
    let per_sample = graph.sub(normalizer, own);
    let loss = graph.mean(&[BATCH], per_sample);
    momentum_updates(&mut case, loss, &params);
    for (name, value) in [("loss", loss), ("accuracy", accuracy), ("samples", per_sample), ("logits", logits)]
    {
        case.output(name, value);
    }
    case
}

#[test]
fn a_classifier_is_right() {
    classifier(21, 9, 14, 3).check_compiled();
    classifier(32, 40, 64, 10).check_compiled();
}

#[test]
fn dropped_entries_are_the_same_in_both_passes() {
    let mut case = Case::new(16);
    let (f, g) = (case.axis(24), case.axis(8));
    let seed = case.stored("seed", &[], Storage::Seed);
    let (x, w) = (case.tensor("x", &[BATCH, f]), case.symbol("w", &[g, f]));
    let graph = &mut case.graph;
    let counters = [graph.symbol(seed)];
    let numbers = graph.random(1, &counters, &[BATCH, f]);
    let keep = graph.number(0.7);
    let kept = apply(graph, "lt", &[numbers, keep]);
    let scale = graph.number(1.0 / 0.7);
    let thinned = graph.mul(&[scale, kept, x]);
    let weight = graph.symbol(w);
    let y = graph.contract(thinned, weight, &[f]);
    let square = graph.square(y);
    let loss = graph.mean(&[BATCH, g], square);
    momentum_updates(&mut case, loss, &[w]);
    let one = case.graph.number(1.0);
    let gradient = case.graph.vjp(&[(loss, one)], &[x])[&x];
    case.output("gradient", gradient);
    case.check_compiled();
}

#[test]
fn a_training_step_is_right() {
    training_step(32, &[20, 48, 33, 5]).check_compiled();
    training_step(7, &[3, 4, 2]).check_compiled();
}

#[test]
fn a_training_step_takes_few_levels() {
    let program = training_step(128, &[784, 1024, 1024, 1024, 10]).lower().program;
    let levels = &program.routines[0].levels;
    assert!(levels.len() <= 8, "{} levels", levels.len());
    let products = statements(&program).filter(|statement| matches!(statement, Stmt::Gemm(_))).count();
    assert_eq!(products, 11, "4 forward, 3 data gradients, 4 weight gradients");
    let passes = statements(&program)
        .filter(|statement| matches!(statement, Stmt::Nest(nest) if nest.loops.len() == 2));
    let forward = 3 * 3;
    let backward = 3 * 2;
    assert!(passes.count() <= forward + backward + 1, "updates are epilogues of the weight gradients");
    let largest = program.buffers.iter().filter(|buffer| !buffer.persistent).map(|buffer| buffer.len).max();
    assert!(largest <= Some(128 * 1024), "no weight gradient is stored: {largest:?}");
}

#[test]
fn small_networks_stay_in_one_thread() {
    let serial = |batch: usize, widths: &[usize]| {
        let program = training_step(batch, widths).lower().program;
        program.routines[0].levels.iter().all(|level| level.serial)
    };
    assert!(serial(16, &[16, 32, 32, 10]));
    assert!(!serial(64, &[64, 128, 128, 10]));
}

#[test]
fn buffers_share_memory_where_their_lives_do_not_meet() {
    let program = training_step(128, &[784, 1024, 1024, 1024, 10]).lower().program;
    let alone: usize =
        program.buffers.iter().map(|buffer| (buffer.len * buffer.elem.bytes()).next_multiple_of(64)).sum();
    assert!(program.arena_bytes < alone, "{} of {alone}", program.arena_bytes);
}

/// Statements of which a result lies where one of their operands does.
fn replacing(program: &Program) -> usize {
    let offset = |buffer: BufferId| program.buffers[buffer.index()].offset;
    let temporary = |buffer: BufferId| !program.buffers[buffer.index()].persistent;
    let replaces = |scalars: &Scalars| {
        scalars.stores.iter().filter(|store| temporary(store.buffer)).any(|store| {
            scalars.insts.iter().any(|inst| {
                matches!(inst, Inst::Load(read, _) if *read != store.buffer && offset(*read) == offset(store.buffer))
            })
        })
    };
    let results = |statement: &&Stmt| match statement {
        Stmt::Nest(nest) => replaces(&nest.body),
        Stmt::Gemm(gemm) => replaces(&gemm.epilogue),
        Stmt::Orthonormalize { .. } => false,
    };
    statements(program).filter(results).count()
}

#[test]
fn results_take_the_place_of_what_is_read_last() {
    // The gradients through two normalizations.
    assert!(replacing(&training_step(128, &[784, 1024, 1024, 10]).lower().program) >= 2);
    // y is read once more, and for other entries than are stored.
    let mut case = Case::new(64);
    let (f, g) = (case.axis(512), case.axis(512));
    let (x, w) = (case.tensor("x", &[BATCH, f]), case.tensor("w", &[g, f]));
    let y = case.graph.contract(x, w, &[f]);
    let scaled = activation(&mut case.graph, y);
    let again = case.graph.contract(scaled, w, &[g]);
    let sum = case.graph.contract(y, w, &[g]);
    for (name, value) in [("again", again), ("sum", sum)] {
        case.output(name, value);
    }
    assert_eq!(replacing(&case.check()), 0);
}

/// The mean square of max(a(x) + a(y), 0)·w for an a that is dear, and a step along its gradients.
fn rectified(batch: usize) -> Case {
    let mut case = Case::new(batch);
    let (f, h) = (case.axis(48), case.axis(32));
    let (x, y) = (case.tensor("x", &[BATCH, f]), case.symbol("y", &[BATCH, f]));
    let w = case.symbol("w", &[h, f]);
    let graph = &mut case.graph;
    let [y_value, w_value] = [y, w].map(|symbol| graph.symbol(symbol));
    let dear = [activation(graph, x), activation(graph, y_value)];
    let sum = graph.add(&dear);
    let zero = graph.number(0.0);
    let z = apply(graph, "max", &[sum, zero]);
    let product = graph.contract(z, w_value, &[f]);
    let square = graph.square(product);
    let loss = graph.mean(&[BATCH, h], square);
    momentum_updates(&mut case, loss, &[y, w]);
    case
}

#[test]
fn a_value_is_not_kept_beside_its_bound() {
    let case = rectified(64);
    let program = case.check();
    let large = program.buffers.iter().filter(|buffer| !buffer.persistent && buffer.len == 64 * 48);
    let names: Vec<&str> = large.map(|buffer| buffer.name.as_str()).collect();
    assert_eq!(names.len(), 2, "max(x + y, 0) and the gradient at it: {names:?}");
    case.check_compiled();
}

#[test]
fn contractions_under_other_names_have_epilogues() {
    let mut case = Case::new(32);
    let (f, g, h) = (case.axis(48), case.axis(48), case.axis(24));
    let (x, y) = (case.tensor("x", &[BATCH, h]), case.tensor("y", &[BATCH, f]));
    let w = case.tensor("w", &[h, g]);
    let graph = &mut case.graph;
    let product = graph.contract(x, w, &[h]);
    let renamed = graph.rename(product, &[(g, f)]);
    let sum = graph.add(&[y, renamed]);
    let twice = graph.mul(&[y, sum]);
    let mean = graph.mean(&[BATCH], twice);
    case.output("mean", mean);
    assert_eq!(statements(&case.check()).count(), 2, "a product and a mean");
    // What is assigned is so under the names of its symbol.
    case.output("twice", twice);
    case.check();
}

/// Values whose axes lie in another order than those of what they are made of: whole blocks, and what is left of them.
#[test]
fn transposes_are_right() {
    for [batch, features] in [[48, 32], [33, 16], [16, 47], [100, 28], [5, 3]] {
        let mut case = Case::new(batch);
        let f = case.axis(features);
        let (x, y) = (case.tensor("x", &[BATCH, f]), case.tensor("y", &[f, BATCH]));
        let per_feature = case.tensor("w", &[f]);
        let graph = &mut case.graph;
        let mixed = graph.add(&[x, y]);
        let mixed = graph.mul(&[mixed, per_feature]);
        for (name, value, axes) in
            [("across", x, [f, BATCH]), ("rows", mixed, [BATCH, f]), ("columns", mixed, [f, BATCH])]
        {
            let symbol = case.symbol(name, &axes);
            case.writes.push((symbol, value));
        }
        case.check_compiled();
    }
}

/// One step of growing a graph: which operation, on which of the values so far.
type Growth = (u8, usize, usize);

fn grow(case: &mut Case, axes: [Axis; 2], steps: &[Growth]) -> Vec<Expr> {
    let mut values = vec![
        case.tensor("x", &[BATCH, axes[0]]),
        case.tensor("y", &[BATCH, axes[1]]),
        case.tensor("w", &[axes[1], axes[0]]),
        case.tensor("v", &[axes[0]]),
    ];
    for &(operation, first, second) in steps {
        let (a, b) = (values[first % values.len()], values[second % values.len()]);
        values.push(combined(&mut case.graph, operation, a, b));
    }
    values.split_off(4)
}

fn combined(graph: &mut Graph, operation: u8, a: Expr, b: Expr) -> Expr {
    let outer = graph.axes_of(a).first().copied();
    let common = graph.axes_of(a).iter().copied().rfind(|axis| graph.axes_of(b).contains(axis));
    match (operation % 9, outer, common) {
        (0, _, _) => graph.add(&[a, b]),
        (1, _, _) => graph.mul(&[a, b]),
        (2, Some(axis), _) => graph.mean(&[axis], a),
        (3, Some(axis), _) => graph.reduce(Reduction::Max, &[axis], a),
        (4, _, Some(axis)) => {
            let sum = graph.contract(a, b, &[axis]);
            let scale = graph.number(1.0 / graph.axes.extent(axis) as f64);
            graph.mul(&[scale, sum])
        }
        (5, _, _) => activation(graph, a),
        (7, _, _) => {
            let bound = graph.number(0.25);
            apply(graph, "max", &[a, bound])
        }
        (8, _, _) => {
            let bound = graph.number(0.25);
            let above = apply(graph, "gt", &[a, bound]);
            apply(graph, "where", &[above, b, bound])
        }
        _ => {
            let one = graph.number(1.0);
            let square = graph.square(b);
            let below = graph.add(&[one, square]);
            graph.div(a, below)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn random_expressions_compute_what_they_mean(
        extents in (1usize..20, 1usize..20, 1usize..20),
        steps in prop::collection::vec((0u8..9, 0usize..64, 0usize..64), 1..12),
    ) {
        let mut case = Case::new(extents.0);
        let axes = [case.axis(extents.1), case.axis(extents.2)];
        let values = grow(&mut case, axes, &steps);
        for (index, &value) in values.iter().enumerate() {
            if index % 3 == 0 || index + 1 == values.len() {
                case.output(&format!("out{index}"), value);
            }
        }
        case.check();
    }
}

/// Sums and largest values over the batch by rank, exchanged, and used: as over the samples of all ranks. Values that the
/// ranks have been given each for itself stay.
#[test]
fn ranks_exchange_between_levels() {
    const RANKS: usize = 3;
    let mut case = Case::new(6);
    let (out, inner) = (case.axis(5), case.axis(20));
    let (x, w) = (case.tensor("x", &[BATCH, inner]), case.tensor("w", &[out, inner]));
    let graph = &mut case.graph;
    let y = graph.contract(x, w, &[inner]);
    let gradient = graph.contract(y, x, &[BATCH]);
    let gradient = graph.exchange(Reduction::Sum, gradient);
    let top = graph.reduce(Reduction::Max, &[BATCH], y);
    let top = graph.exchange(Reduction::Max, top);
    let below = graph.sub(y, top);
    let step = graph.add(&[gradient, w]);
    case.output("gradient", gradient);
    case.output("below", below);
    case.output("step", step);
    let lowered = case.lower();
    let [x, w] = [0, 1].map(|number| case.graph.symbols().nth(number).expect("made").0);
    let place = |symbol| {
        (lowered.symbol_offsets[&symbol], case.graph.axes.size(&case.graph.symbol_info(symbol).axes))
    };
    let samples: Vec<Vec<f64>> =
        (0..RANKS).map(|rank| entries(Symbol(10 + rank as u32), 120, Storage::Float)).collect();
    let weights = entries(w, 100, Storage::Float);
    let mut arenas = vec![vec![0u8; lowered.program.arena_bytes]; RANKS];
    for (arena, samples) in arenas.iter_mut().zip(&samples) {
        write(arena, place(x).0, Storage::Float, samples);
        write(arena, place(w).0, Storage::Float, &weights);
    }
    let mut all: Vec<&mut [u8]> = arenas.iter_mut().map(Vec::as_mut_slice).collect();
    interpret::run_ranks(&lowered.program, "train", &mut all);

    let product = |x: &[f64], o: usize| (0..20).map(|k| x[k] * weights[o * 20 + k]).sum::<f64>();
    let rows: Vec<&[f64]> = samples.iter().flat_map(|samples| samples.chunks(20)).collect();
    let top: Vec<f64> =
        (0..5).map(|o| rows.iter().map(|x| product(x, o)).fold(f64::NEG_INFINITY, f64::max)).collect();
    let entry = |at: usize| rows.iter().map(|x| product(x, at / 20) * x[at % 20]).sum::<f64>();
    let gradient: Vec<f64> = (0..100).map(entry).collect();
    let step: Vec<f64> = gradient.iter().zip(&weights).map(|(g, w)| g + w).collect();
    for (arena, samples) in arenas.iter().zip(&samples) {
        let below: Vec<f64> = samples
            .chunks(20)
            .flat_map(|x| (0..5).map(|o| product(x, o) - top[o]).collect::<Vec<_>>())
            .collect();
        for ((symbol, _), want) in case.writes.iter().zip([&gradient, &below, &step]) {
            let (offset, count) = place(*symbol);
            let have = read(arena, offset, Storage::Float, count);
            compare(&case.graph.symbol_info(*symbol).name, &have, want.iter().copied());
        }
    }
}
