//! The intrinsics suite. It walks the registry: what is said here of one intrinsic is checked of all, and a new one
//! needs no new code. Values come from the hand-written references.

use std::collections::HashMap;

use blkc::axes::{Axis, AxisTable};
use blkc::codegen::{jit::Jit, llvm, target::Target};
use blkc::hessian::{Plan, Routine, Symbols, Write};
use blkc::intrinsics::{ALL, Intrinsic, Problem, Scalar, Tensor, by_name, by_name_and_arity, scalar_by_name};
use blkc::ir::{Elem, Type};
use blkc::loops::build::ScalarBuilder;
use blkc::loops::{self, Affine, BufferId, LoopVar, Nest, Range, Reg, Stmt, Ty, Unary};
use blkc::lower::{Lowered, Options, lower};
use blkc::sym::{self, Expr, Graph, Storage, Symbol, SymbolInfo};

use ndarray::ArrayD;

mod programs;
use programs::Memory;

/// Numbers from a fixed seed.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A problem with its arguments drawn and its type inferred.
struct Case {
    intrinsic: &'static dyn Intrinsic,
    problem: Problem,
    axes: AxisTable,
    args: Vec<Tensor>,
    out: Type,
}

impl Case {
    fn new(intrinsic: &'static dyn Intrinsic, problem: Problem) -> Self {
        let mut axes = AxisTable::new(problem.extents[0]);
        for &extent in &problem.extents[1..] {
            axes.fresh("a", extent);
        }
        let mut draws = Draws(problem.extents.iter().sum::<usize>() as u64 + 11);
        let args = problem.args.iter().map(|ty| argument(&axes, &problem, ty, &mut draws)).collect();
        let out = intrinsic.infer(&mut axes, &problem.args, &problem.attrs);
        let out = out.unwrap_or_else(|error| panic!("{}: {}", intrinsic.name(), error.message));
        Case { intrinsic, problem, axes, args, out }
    }

    fn all() -> impl Iterator<Item = Case> {
        let cases = |intrinsic: &&'static dyn Intrinsic| {
            let intrinsic = *intrinsic;
            intrinsic.problems().into_iter().map(move |problem| Case::new(intrinsic, problem))
        };
        ALL.iter().flat_map(cases)
    }

    fn reference(&self, args: &[Tensor]) -> Vec<f64> {
        self.reference_array(args).iter().copied().collect()
    }

    fn reference_array(&self, args: &[Tensor]) -> ArrayD<f64> {
        let args: Vec<&Tensor> = args.iter().collect();
        self.intrinsic.reference(&self.axes, &args, &self.problem.attrs, &self.out)
    }

    /// A graph with a symbol per argument, and the intrinsic's expression of them.
    fn express(&self) -> (Graph, Vec<Expr>, Expr, HashMap<Symbol, Tensor>) {
        let mut graph = Graph::new(self.axes.clone());
        let mut values = HashMap::new();
        let mut args = Vec::new();
        for (i, (ty, value)) in self.problem.args.iter().zip(&self.args).enumerate() {
            let (symbol, arg) = symbol(&mut graph, &format!("x{i}"), ty);
            values.insert(symbol, value.clone());
            args.push(arg);
        }
        let types = &self.problem.args;
        let expr = self.intrinsic.express(&mut graph, &args, types, &self.problem.attrs, &self.out);
        (graph, args, expr, values)
    }

    fn describe(&self) -> String {
        format!("{} on extents {:?}", self.intrinsic.name(), self.problem.extents)
    }
}

fn symbol(graph: &mut Graph, name: &str, ty: &Type) -> (Symbol, Expr) {
    let storage = if matches!(ty.elem, Elem::Class(_)) { Storage::Label } else { Storage::Float };
    let info = SymbolInfo { name: name.into(), label: name.into(), axes: ty.axes.clone(), storage };
    let symbol = graph.new_symbol(info);
    (symbol, graph.symbol(symbol))
}

fn argument(axes: &AxisTable, problem: &Problem, ty: &Type, draws: &mut Draws) -> Tensor {
    let (low, high) = problem.range;
    let mut entries: Vec<f64> = (0..axes.size(&ty.axes))
        .map(|_| match ty.elem {
            Elem::Float => low + (high - low) * draws.next(),
            Elem::Bool => (draws.next() * 2.0).floor(),
            Elem::Class(class) => (draws.next() * axes.extent(class) as f64).floor(),
        })
        .collect();
    if ty.elem == Elem::Float {
        for (i, &point) in problem.points.iter().enumerate() {
            let place = i * 3 % entries.len();
            entries[place] = point;
        }
    }
    Tensor::new(axes, &ty.axes, entries)
}

fn assert_close(what: &str, expected: &[f64], found: &[f64], tolerance: f64) {
    assert_eq!(expected.len(), found.len(), "{what}: number of entries");
    for (i, (e, f)) in expected.iter().zip(found).enumerate() {
        let same = e.to_bits() == f.to_bits() || (e.is_nan() && f.is_nan());
        assert!(
            same || (e - f).abs() <= tolerance * (1.0 + e.abs()),
            "{what}: entry {i} is {f}, expected {e}"
        );
    }
}

#[test]
fn inferred_shape_is_the_shape_of_the_reference() {
    for case in Case::all() {
        let value = case.reference_array(&case.args);
        let shape: Vec<usize> = case.out.axes.iter().map(|&axis| case.axes.extent(axis)).collect();
        assert_eq!(value.shape(), shape, "{}", case.describe());
    }
}

#[test]
fn symbolic_value_is_the_reference() {
    for case in Case::all() {
        let (graph, _, expr, values) = case.express();
        let value = sym::evaluate(&graph, &values, &[expr]).remove(0).along(&graph.axes, &case.out.axes);
        let found: Vec<f64> = value.iter().copied().collect();
        assert_close(&case.describe(), &case.reference(&case.args), &found, 1e-11);
    }
}

/// Away from kinks: where one-sided differences disagree, the derivative is a matter of convention, and is tested as
/// such below.
#[test]
fn symbolic_gradient_is_the_difference_quotient() {
    for case in Case::all().filter(is_differentiable) {
        let (mut graph, args, expr, mut values) = case.express();
        let (weight, seed) = symbol(&mut graph, "seed", &Type::float(case.out.axes.clone()));
        let mut draws = Draws(5);
        let entries: Vec<f64> = (0..case.axes.size(&case.out.axes)).map(|_| draws.next() - 0.5).collect();
        values.insert(weight, Tensor::new(&case.axes, &case.out.axes, entries.clone()));
        let floats = args.iter().zip(&case.problem.args).filter(|(_, ty)| ty.elem == Elem::Float);
        let wrt: Vec<Expr> = floats.map(|(arg, _)| *arg).collect();
        let gradients = graph.vjp(&[(expr, seed)], &wrt);
        for (i, arg) in args.iter().enumerate().filter(|(_, arg)| wrt.contains(arg)) {
            let gradient = sym::evaluate(&graph, &values, &[gradients[arg]]).remove(0);
            let gradient = gradient.along(&graph.axes, &case.problem.args[i].axes);
            for (entry, &found) in gradient.iter().enumerate() {
                if let Some(expected) = slope(&case, i, entry, &entries) {
                    let what = format!("{}: derivative by entry {entry} of argument {i}", case.describe());
                    assert_close(&what, &[expected], &[found], 2e-6);
                }
            }
        }
    }
}

/// What differentiation holds constant on purpose, and what only initializers use.
fn is_differentiable(case: &Case) -> bool {
    !["stop", "orthonormal"].contains(&case.intrinsic.name())
}

/// Central difference of Σ weights·output, unless there is a kink.
fn slope(case: &Case, arg: usize, entry: usize, weights: &[f64]) -> Option<f64> {
    let h = 1e-5;
    let at = |shift: f64| {
        let mut args = case.args.clone();
        *args[arg].values.iter_mut().nth(entry)? += shift;
        Some(case.reference(&args).iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>())
    };
    let (below, here, above) = (at(-h)?, at(0.0)?, at(h)?);
    let (left, right) = ((here - below) / h, (above - here) / h);
    let smooth = (left - right).abs() < 1e-3 * (1.0 + left.abs()) && left.is_finite();
    smooth.then_some((above - below) / (2.0 * h))
}

/// Value of the derivative of an elementwise function by its argument `i` at a point.
fn derivative(name: &str, i: usize, point: &[f64]) -> f64 {
    let function: &dyn Scalar = scalar_by_name(name).expect("an elementwise function");
    let mut graph = Graph::new(AxisTable::new(1));
    let mut values = HashMap::new();
    let mut args = Vec::new();
    for value in point {
        let (symbol, arg) = symbol(&mut graph, &format!("x{}", args.len()), &Type::float(vec![]));
        values.insert(symbol, Tensor::scalar(*value));
        args.push(arg);
    }
    let slope = function.derivative(&mut graph, i, &args);
    sym::evaluate(&graph, &values, &[slope])[0].values.sum()
}

#[test]
fn declared_conventions_hold_at_kinks() {
    assert_eq!(derivative("max", 0, &[0.0, 0.0]), 0.0);
    assert_eq!(derivative("max", 1, &[0.0, 0.0]), 1.0);
    assert_eq!(derivative("min", 0, &[0.0, 0.0]), 0.0);
    assert_eq!(derivative("abs", 0, &[0.0]), 0.0);
    assert_eq!(derivative("floor", 0, &[2.0]), 0.0);
    assert_eq!(derivative("stop", 0, &[2.0]), 0.0);
}

#[test]
fn names_and_operators_are_found() {
    for intrinsic in ALL {
        let tensors = intrinsic.signature().tensors.len();
        assert!(by_name(intrinsic.name()).is_some());
        let found = by_name_and_arity(intrinsic.name(), tensors).expect("by its own arity");
        assert!(std::ptr::addr_eq(*intrinsic, found) || found.name() == intrinsic.name());
        if let Some(scalar) = intrinsic.scalar() {
            assert_eq!(scalar_by_name(scalar.name()).map(|scalar| scalar.arity()), Some(tensors));
        }
    }
    assert_eq!(by_name_and_arity("max", 1).map(|max| max.signature().attrs.len()), Some(1));
    assert_eq!(by_name_and_arity("max", 2).map(|max| max.signature().attrs.len()), Some(0));
}

#[test]
fn misfits_are_refused_in_words() {
    let mut axes = AxisTable::new(2);
    let (n, d) = (axes.fresh("n", 3), axes.fresh("d", 4));
    let float = |axes: &[Axis]| Type::float(axes.to_vec());
    let attrs = blkc::intrinsics::Attrs::new();
    let refused = [
        ("add", vec![float(&[n]), float(&[d])]),
        ("and", vec![float(&[n]), float(&[n])]),
        ("contract", vec![float(&[n]), float(&[d])]),
        ("[]", vec![float(&[n]), float(&[])]),
        ("[]", vec![float(&[n]), Type { elem: Elem::Class(d), axes: vec![] }]),
    ];
    for (name, args) in refused {
        let result = by_name(name).expect("registered").infer(&mut axes, &args, &attrs);
        assert!(result.is_err_and(|error| !error.message.is_empty()), "{name}");
    }
}

/// Machine operations of an elementwise function on single entries, by the interpreter of the loop IR.
fn machine(scalar: &dyn Scalar, conditions: &[bool], float: Ty, points: &[Vec<f64>]) -> Vec<f64> {
    let elem = if float == Ty::F32 { loops::Elem::F32 } else { loops::Elem::F64 };
    let arity = scalar.arity();
    let mut builder = ScalarBuilder::new(float);
    let at = |offset: usize| Affine { base: offset as i64, terms: vec![(LoopVar(0), 1)], task: 0 };
    let mut args: Vec<Reg> = Vec::new();
    for (i, &is_condition) in conditions.iter().enumerate().take(arity) {
        let load = builder.load(BufferId(0), elem, at(i * points.len()));
        args.push(if is_condition { condition(&mut builder, load) } else { load });
    }
    let result = scalar.lower(&mut builder, &args);
    let result = if builder.type_of(result) == Ty::Bool { as_number(&mut builder, result) } else { result };
    builder.store(BufferId(0), at(arity * points.len()), result);
    let program = program(elem, points.len() * (arity + 1), points.len(), builder);
    loops::verify::verify(&program).expect("a sound program");
    let mut arena = vec![0u8; program.arena_bytes];
    for (place, value) in (0..arity).flat_map(|i| points.iter().map(move |point| point[i])).enumerate() {
        match elem {
            loops::Elem::F64 => arena[place * 8..place * 8 + 8].copy_from_slice(&value.to_le_bytes()),
            _ => arena[place * 4..place * 4 + 4].copy_from_slice(&(value as f32).to_le_bytes()),
        }
    }
    loops::interpret::run(&program, "run", &mut arena);
    let bytes = elem.bytes();
    let outputs = arena[arity * points.len() * bytes..][..points.len() * bytes].chunks(bytes);
    outputs.map(number).collect()
}

fn number(bytes: &[u8]) -> f64 {
    match bytes.try_into() {
        Ok(double) => f64::from_le_bytes(double),
        Err(_) => f64::from(f32::from_le_bytes(bytes.try_into().expect("four bytes"))),
    }
}

fn condition(builder: &mut ScalarBuilder, value: Reg) -> Reg {
    let zero = builder.number(0.0);
    let equal = builder.binary(loops::Binary::Eq, value, zero);
    builder.unary(Unary::Not, equal)
}

fn as_number(builder: &mut ScalarBuilder, condition: Reg) -> Reg {
    let (one, zero) = (builder.number(1.0), builder.number(0.0));
    builder.select(condition, one, zero)
}

fn program(elem: loops::Elem, len: usize, points: usize, builder: ScalarBuilder) -> loops::Program {
    let nest = Nest {
        loops: vec![Range::Full(points)],
        kept: 1,
        vector: None,
        body: builder.finish(),
        accumulate: vec![],
        finish: Default::default(),
    };
    let group = loops::Group {
        label: "run".into(),
        block: None,
        pass: loops::Pass::Forward,
        extent: 1,
        chunk: 1,
        body: vec![Stmt::Nest(nest)],
    };
    let buffer = loops::Buffer { name: "values".into(), elem, len, offset: 0, persistent: true };
    loops::Program {
        buffers: vec![buffer],
        arena_bytes: len * elem.bytes(),
        routines: vec![loops::Routine {
            name: "run".into(),
            levels: vec![loops::Level { groups: vec![group], serial: true, exchanges: vec![] }],
        }],
    }
}

/// Distance in units of the last place of f32 at the expected value.
fn ulps(expected: f64, found: f64) -> f64 {
    let rounded = expected as f32;
    if f64::from(rounded) == found || (expected.is_nan() && found.is_nan()) {
        return 0.0;
    }
    let unit = f64::from(f32::from_bits((rounded.abs().to_bits()).max(1)).next_up())
        - f64::from(rounded.abs().max(f32::from_bits(1)));
    (expected - found).abs() / unit
}

#[test]
fn machine_operations_agree_with_the_reference() {
    for intrinsic in ALL {
        let Some(scalar) = intrinsic.scalar() else { continue };
        let case = Case::new(*intrinsic, intrinsic.problems().remove(1));
        let conditions: Vec<bool> = case.problem.args.iter().map(|ty| ty.elem == Elem::Bool).collect();
        let rows = case.axes.size(&case.out.axes);
        let columns: Vec<Vec<f64>> =
            case.args.iter().map(|arg| arg.values.iter().copied().collect()).collect();
        // Entries as f32 holds them, so that rounding the arguments is not counted.
        let points: Vec<Vec<f64>> = (0..rows)
            .map(|row| columns.iter().map(|column| f64::from(column[row] as f32)).collect())
            .collect();
        let expected: Vec<f64> = points.iter().map(|point| scalar.eval(point)).collect();
        for (float, tolerance) in [(Ty::F32, 4e-7), (Ty::F64, 4e-14)] {
            let found = machine(scalar, &conditions, float, &points);
            assert_close(&format!("{} in {float:?}", intrinsic.name()), &expected, &found, tolerance);
        }
    }
}

/// Largest error in units of the last place over evenly spaced points.
fn worst(name: &str, low: f64, high: f64) -> f64 {
    let scalar = scalar_by_name(name).expect("a function");
    let grid = (0..=20_000).map(|i| f64::from((low + (high - low) * f64::from(i) / 20_000.0) as f32));
    let points: Vec<Vec<f64>> = grid.map(|x| vec![x]).collect();
    let found = machine(scalar, &[false], Ty::F32, &points);
    points.iter().zip(found).map(|(point, found)| ulps(scalar.eval(point), found)).fold(0.0, f64::max)
}

#[test]
fn f32_functions_are_accurate_to_few_units_of_the_last_place() {
    let bounds = [
        ("exp", -104.0, 89.0, 2.0),
        ("exp", -1.0, 1.0, 2.0),
        ("log", 1e-6, 4.0, 2.0),
        ("log", 1.0, 1e30, 2.0),
        ("log1p", -0.9, 2.0, 3.0),
        ("log1p", -1e-3, 1e-3, 2.0),
        ("tanh", -10.0, 10.0, 3.0),
        ("tanh", -0.7, 0.7, 3.0),
        ("erf", -4.5, 4.5, 3.0),
        ("erf", -1e-2, 1e-2, 2.0),
        ("sin", -0.78, 0.78, 2.0),
        ("cos", -0.78, 0.78, 2.0),
    ];
    for (name, low, high, allowed) in bounds {
        let error = worst(name, low, high);
        assert!(error <= allowed, "{name} on {low}..{high}: {error} units of the last place");
    }
}

#[test]
fn f32_functions_are_right_at_special_points() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let tiny = f64::from(f32::MIN_POSITIVE) / 1024.0;
    let cases: [(&str, &[f64]); 7] = [
        ("exp", &[inf, -inf, nan, 0.0, 1000.0, -1000.0, 88.7, -87.4, -100.0, -103.5]),
        ("log", &[inf, 0.0, -1.0, nan, 1.0, tiny, f64::from(f32::MAX)]),
        ("log1p", &[inf, -1.0, -2.0, nan, 0.0, 1e20]),
        ("tanh", &[inf, -inf, nan, 0.0, 100.0]),
        ("erf", &[inf, -inf, nan, 0.0, 10.0, -10.0]),
        ("sin", &[nan, 0.0]),
        ("cos", &[nan, 0.0]),
    ];
    for (name, points) in cases {
        let scalar = scalar_by_name(name).expect("a function");
        let points: Vec<Vec<f64>> = points.iter().map(|&x| vec![f64::from(x as f32)]).collect();
        let found = machine(scalar, &[false], Ty::F32, &points);
        for (point, found) in points.iter().zip(found) {
            let expected = f64::from(scalar.eval(point) as f32);
            assert!(ulps(expected, found) <= 2.0, "{name}({}) is {found}, expected {expected}", point[0]);
        }
    }
}

#[test]
fn sines_of_moderate_arguments_are_accurate() {
    for name in ["sin", "cos"] {
        let scalar = scalar_by_name(name).expect("a function");
        let points: Vec<Vec<f64>> =
            (-5000..5000).map(|i| vec![f64::from((f64::from(i) * 1.37) as f32)]).collect();
        let found = machine(scalar, &[false], Ty::F32, &points);
        for (point, found) in points.iter().zip(found) {
            let error = (scalar.eval(point) - found).abs();
            assert!(error < 1.5e-7, "{name}({}) is {found}: error {error}", point[0]);
        }
    }
}

/// The case as a program of one routine that writes the result; its arguments' symbols and the result's.
fn compiled(case: &Case) -> (Lowered, Vec<Symbol>, Symbol) {
    let mut graph = Graph::new(case.axes.clone());
    let mut symbols = Vec::new();
    let mut args = Vec::new();
    for (i, ty) in case.problem.args.iter().enumerate() {
        let (symbol, arg) = symbol(&mut graph, &format!("x{i}"), ty);
        symbols.push(symbol);
        args.push(if ty.elem == Elem::Bool { holds(&mut graph, arg) } else { arg });
    }
    let types = &case.problem.args;
    let expr = case.intrinsic.express(&mut graph, &args, types, &case.problem.attrs, &case.out);
    let expr = if case.out.elem == Elem::Bool { one_or_zero(&mut graph, expr) } else { expr };
    let value = graph.spread(expr, &case.out.axes);
    let (result, _) = symbol(&mut graph, "result", &Type::float(case.out.axes.clone()));
    let routine = Routine { name: "train", writes: vec![Write { symbol: result, value }] };
    let plan = Plan { graph, symbols: unused(result), routines: vec![routine], blocks: vec![] };
    let lowered =
        lower(&plan, &Options::default()).unwrap_or_else(|error| panic!("{}: {error}", case.describe()));
    loops::verify::verify(&lowered.program)
        .unwrap_or_else(|problems| panic!("{}: {problems:?}", case.describe()));
    (lowered, symbols, result)
}

/// Conditions are stored as numbers.
fn holds(graph: &mut Graph, arg: Expr) -> Expr {
    let zero = graph.number(0.0);
    graph.apply(scalar_by_name("gt").expect("registered"), &[arg, zero])
}

fn one_or_zero(graph: &mut Graph, condition: Expr) -> Expr {
    let (one, zero) = (graph.number(1.0), graph.number(0.0));
    graph.apply(scalar_by_name("where").expect("registered"), &[condition, one, zero])
}

/// A plan's symbols, none of which matters here.
fn unused(symbol: Symbol) -> Symbols {
    Symbols {
        input: symbol,
        target: symbol,
        params: vec![],
        stats: vec![],
        states: vec![],
        hypers: vec![],
        step: symbol,
        seed: [symbol; 2],
        loss: symbol,
        accuracy: None,
        sample_loss: symbol,
        sample_hit: None,
        output: symbol,
        share: None,
        first_sample: None,
        gradients: vec![],
        time: symbol,
        total_time: symbol,
        multiplier: symbol,
        m_z: vec![],
        m: vec![],
        m_w: vec![],
    }
}

/// The arena with the case's arguments in it, and the arguments as f32 holds them.
fn filled(case: &Case, lowered: &Lowered, symbols: &[Symbol]) -> (Memory, Vec<Tensor>) {
    let mut memory = Memory::new(lowered.program.arena_bytes);
    let mut rounded = case.args.clone();
    for ((tensor, ty), symbol) in rounded.iter_mut().zip(&case.problem.args).zip(symbols) {
        tensor.values.mapv_inplace(|entry| f64::from(entry as f32));
        for (place, entry) in tensor.values.iter().enumerate() {
            let label = matches!(ty.elem, Elem::Class(_));
            let bytes = if label { (*entry as i32).to_le_bytes() } else { (*entry as f32).to_le_bytes() };
            let at = lowered.symbol_offsets[symbol] + 4 * place;
            memory.bytes()[at..at + 4].copy_from_slice(&bytes);
        }
    }
    (memory, rounded)
}

fn entries(memory: &mut Memory, offset: usize, count: usize) -> Vec<f64> {
    memory.bytes()[offset..offset + 4 * count].chunks(4).map(number).collect()
}

#[test]
fn loops_and_machine_code_give_the_reference() {
    let target = Target::native();
    for case in Case::all() {
        let (lowered, symbols, result) = compiled(&case);
        let count = case.axes.size(&case.out.axes);
        let offset = lowered.symbol_offsets[&result];
        let (mut interpreted, rounded) = filled(&case, &lowered, &symbols);
        let expected = case.reference(&rounded);
        loops::interpret::run(&lowered.program, "train", interpreted.bytes());
        let found = entries(&mut interpreted, offset, count);
        assert_close(&format!("{}, interpreted", case.describe()), &expected, &found, 1e-5);

        let jit = Jit::new(&lowered.program, &target).expect("code");
        let (mut arena, _) = filled(&case, &lowered, &symbols);
        let mut scratch = Memory::new(llvm::scratch_bytes(&lowered.program, &target));
        // SAFETY: both are as large as asked for and aligned.
        unsafe {
            jit.run(&lowered.program, "train", arena.bytes().as_mut_ptr(), scratch.bytes().as_mut_ptr())
        };
        let found = entries(&mut arena, offset, count);
        assert_close(&format!("{}, compiled", case.describe()), &expected, &found, 1e-5);
    }
}
