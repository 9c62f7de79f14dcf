//! Runs a program without machine code: one thread, one scalar at a time, in the order of the loops. The reference
//! for generated code: the same operations in the same types; only the order of summation differs.

use super::{
    Accumulate, Affine, Arithmetic, Binary, BufferId, Combine, Elem, Exchange, Gemm, Group, Inst, Nest,
    Outer, Program, Range, Reg, Scalars, Stmt, Ty, Unary, bf16,
};

/// Runs a routine on an arena of at least `program.arena_bytes` bytes. The program is one that `verify` accepts.
///
/// # Panics
/// When the program has no such routine, or reaches outside the arena.
pub fn run(program: &Program, routine: &str, arena: &mut [u8]) {
    run_ranks(program, routine, &mut [arena]);
}

/// Runs a routine on several ranks, each with an arena of its own.
///
/// # Panics
/// As [`run`].
pub fn run_ranks(program: &Program, routine: &str, arenas: &mut [&mut [u8]]) {
    let routine = program.routines.iter().find(|known| known.name == routine).expect("routine exists");
    let mut machines: Vec<Machine> = arenas.iter_mut().map(|arena| Machine { program, arena }).collect();
    for level in &routine.levels {
        for machine in &mut machines {
            for group in &level.groups {
                (0..group.tasks()).for_each(|task| machine.task(group, task));
            }
        }
        level.exchanges.iter().for_each(|exchange| exchange_entries(&mut machines, exchange));
    }
}

fn exchange_entries(ranks: &mut [Machine], exchange: &Exchange) {
    let Some(first) = ranks.first() else { return };
    for index in 0..first.program.buffers[exchange.buffer.index()].len {
        let values = ranks.iter().map(|rank| rank.load(exchange.buffer, index));
        let values: Vec<Value> = values.collect();
        let all = values.into_iter().reduce(|all, value| combine(exchange.op, Some(all), value));
        let Some(Value::F32(all)) = all else { continue };
        ranks.iter_mut().for_each(|rank| rank.set_f32(exchange.buffer, index, all));
    }
}

#[derive(Clone, Copy, Debug)]
enum Value {
    F32(f32),
    F64(f64),
    I32(i32),
    Bool(bool),
}

/// Where a scalar program is evaluated.
struct Point<'a> {
    loops: &'a [usize],
    task: usize,
    accumulated: &'a [Value],
}

/// The positions that a loop of a task covers.
type Span = std::ops::Range<usize>;

struct Machine<'a> {
    program: &'a Program,
    arena: &'a mut [u8],
}

impl Machine<'_> {
    fn task(&mut self, group: &Group, task: usize) {
        let start = task * group.chunk;
        let chunk = start..(start + group.chunk).min(group.extent);
        for stmt in &group.body {
            match stmt {
                Stmt::Nest(nest) => self.nest(nest, task, &chunk),
                Stmt::Gemm(gemm) => self.gemm(gemm, task, &chunk),
                Stmt::Orthonormalize { buffer, rows, cols } => self.orthonormalize(*buffer, *rows, *cols),
            }
        }
    }

    fn nest(&mut self, nest: &Nest, task: usize, chunk: &Span) {
        let spans: Vec<Span> = nest.loops.iter().map(|range| span(*range, chunk)).collect();
        let (kept, reduced) = spans.split_at(nest.kept);
        let mut at = Vec::new();
        for_each(kept, &mut at, &mut |at| {
            let mut sums: Vec<Option<Value>> = vec![None; nest.accumulate.len()];
            for_each(reduced, at, &mut |at| {
                let regs = self.scalars(&nest.body, &Point { loops: at, task, accumulated: &[] });
                for (sum, Accumulate { op, value }) in sums.iter_mut().zip(&nest.accumulate) {
                    *sum = Some(combine(*op, *sum, regs[value.index()]));
                }
            });
            let accumulated: Vec<Value> = sums.into_iter().flatten().collect();
            if !nest.finish.insts.is_empty() || !nest.finish.stores.is_empty() {
                self.scalars(&nest.finish, &Point { loops: at, task, accumulated: &accumulated });
            }
        });
    }

    fn gemm(&mut self, gemm: &Gemm, task: usize, chunk: &Span) {
        let ranges = gemm.outer.iter().map(|outer| outer.range).chain([gemm.m, gemm.n]);
        let spans: Vec<Span> = ranges.map(|range| span(range, chunk)).collect();
        for_each(&spans, &mut Vec::new(), &mut |at| {
            let (outer, entry) = at.split_at(gemm.outer.len());
            let accumulated = [Value::F32(self.entry(gemm, outer, (entry[0], entry[1]), chunk))];
            let loops = [entry, outer].concat();
            self.scalars(&gemm.epilogue, &Point { loops: &loops, task, accumulated: &accumulated });
        });
    }

    fn entry(&self, gemm: &Gemm, outer: &[usize], (row, col): (usize, usize), chunk: &Span) -> f32 {
        let at = |strides: fn(&Outer) -> usize| -> usize {
            gemm.outer.iter().zip(outer).map(|(outer, position)| strides(outer) * position).sum()
        };
        let a_start = at(|outer| outer.strides.0) + row * gemm.a.strides.0;
        let b_start = at(|outer| outer.strides.1) + col * gemm.b.strides.1;
        let factor =
            |value: f32| if gemm.arithmetic == Arithmetic::Bf16 { bf16::round(value) } else { value };
        let moved = |start: usize, by: i64| start.checked_add_signed(by as isize).expect("offset inside");
        let mut sum = 0f32;
        for &(a_offset, b_offset) in gemm.terms.at(&gemm.outer, outer) {
            let (a_start, b_start) = (moved(a_start, a_offset), moved(b_start, b_offset));
            for depth in span(gemm.k, chunk) {
                let a = self.f32(gemm.a.buffer, a_start + depth * gemm.a.strides.1);
                let b = self.f32(gemm.b.buffer, b_start + depth * gemm.b.strides.0);
                sum = factor(a).mul_add(factor(b), sum);
            }
        }
        sum
    }

    /// Gram–Schmidt, each vector twice ("twice is enough"), with dot products in f64.
    fn orthonormalize(&mut self, buffer: BufferId, rows: usize, cols: usize) {
        let by_rows = rows <= cols;
        let (count, len) = if by_rows { (rows, cols) } else { (cols, rows) };
        let index = |vector: usize, entry: usize| {
            if by_rows { vector * cols + entry } else { entry * cols + vector }
        };
        for current in 0..count {
            for _ in 0..2 {
                for earlier in 0..current {
                    let dot = self.dot(buffer, len, |i| (index(current, i), index(earlier, i)));
                    for i in 0..len {
                        let entry = self.f32(buffer, index(current, i));
                        let other = self.f32(buffer, index(earlier, i));
                        self.set_f32(buffer, index(current, i), (-dot as f32).mul_add(other, entry));
                    }
                }
            }
            let norm = self.dot(buffer, len, |i| (index(current, i), index(current, i))).sqrt();
            let scale = if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 };
            for i in 0..len {
                let scaled = self.f32(buffer, index(current, i)) * scale;
                self.set_f32(buffer, index(current, i), scaled);
            }
        }
    }

    fn dot(&self, buffer: BufferId, len: usize, index: impl Fn(usize) -> (usize, usize)) -> f64 {
        (0..len)
            .map(index)
            .map(|(i, j)| f64::from(self.f32(buffer, i)) * f64::from(self.f32(buffer, j)))
            .sum()
    }

    fn address(&self, buffer: BufferId, index: usize) -> usize {
        let buffer = &self.program.buffers[buffer.index()];
        assert!(index < buffer.len, "{} has {} entries, not {index}", buffer.name, buffer.len);
        buffer.offset + index * buffer.elem.bytes()
    }

    fn bytes<const N: usize>(&self, buffer: BufferId, index: usize) -> [u8; N] {
        let at = self.address(buffer, index);
        self.arena[at..at + N].try_into().expect("N bytes")
    }

    /// An entry of a buffer of f32 or bf16.
    fn f32(&self, buffer: BufferId, index: usize) -> f32 {
        match self.program.buffers[buffer.index()].elem {
            Elem::Bf16 => bf16::from_upper_half(u16::from_le_bytes(self.bytes(buffer, index))),
            _ => f32::from_le_bytes(self.bytes(buffer, index)),
        }
    }

    fn set_f32(&mut self, buffer: BufferId, index: usize, value: f32) {
        let at = self.address(buffer, index);
        self.arena[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Evaluates all instructions, then does the stores; returns the registers.
    fn scalars(&mut self, scalars: &Scalars, point: &Point) -> Vec<Value> {
        let mut regs = Vec::with_capacity(scalars.insts.len());
        for inst in &scalars.insts {
            let value = self.inst(inst, &regs, point);
            regs.push(value);
        }
        for store in &scalars.stores {
            let at = self.address(store.buffer, index(&store.index, point));
            let half = self.program.buffers[store.buffer.index()].elem == Elem::Bf16;
            match regs[store.value.index()] {
                Value::F32(value) if half => {
                    self.arena[at..at + 2].copy_from_slice(&bf16::upper_half(value).to_le_bytes());
                }
                Value::F32(value) => self.arena[at..at + 4].copy_from_slice(&value.to_le_bytes()),
                Value::F64(value) => self.arena[at..at + 8].copy_from_slice(&value.to_le_bytes()),
                Value::I32(value) => self.arena[at..at + 4].copy_from_slice(&value.to_le_bytes()),
                Value::Bool(_) => panic!("a condition has no bytes"),
            }
        }
        regs
    }

    fn inst(&self, inst: &Inst, regs: &[Value], point: &Point) -> Value {
        let of = |reg: Reg| regs[reg.index()];
        match *inst {
            Inst::Float(value, Ty::F64) => Value::F64(value),
            Inst::Float(value, _) => Value::F32(value as f32),
            Inst::Int(value) => Value::I32(value),
            Inst::Load(buffer, ref at) => self.load(buffer, index(at, point)),
            Inst::Position(var) => Value::I32(point.loops[var.index()] as i32),
            Inst::Acc(index) => point.accumulated[index],
            Inst::Unary(op, a) => unary(op, of(a)),
            Inst::Binary(op, a, b) => binary(op, of(a), of(b)),
            Inst::MulAdd(a, b, c) => mul_add(of(a), of(b), of(c)),
            Inst::Select(condition, then, otherwise) => {
                if matches!(of(condition), Value::Bool(true)) {
                    of(then)
                } else {
                    of(otherwise)
                }
            }
            Inst::Convert(a, ty) => convert(of(a), ty),
            Inst::Bits(a, ty) => bits(of(a), ty),
        }
    }

    fn load(&self, buffer: BufferId, index: usize) -> Value {
        match self.program.buffers[buffer.index()].elem {
            Elem::F32 | Elem::Bf16 => Value::F32(self.f32(buffer, index)),
            Elem::F64 => Value::F64(f64::from_le_bytes(self.bytes(buffer, index))),
            Elem::I32 => Value::I32(i32::from_le_bytes(self.bytes(buffer, index))),
        }
    }
}

fn span(range: Range, chunk: &Span) -> Span {
    match range {
        Range::Full(extent) => 0..extent,
        Range::Chunk => chunk.clone(),
    }
}

/// Calls `visit` with `at` extended by each point of the spans, the last fastest.
fn for_each(spans: &[Span], at: &mut Vec<usize>, visit: &mut dyn FnMut(&mut Vec<usize>)) {
    let Some((first, rest)) = spans.split_first() else { return visit(at) };
    for position in first.clone() {
        at.push(position);
        for_each(rest, at, visit);
        at.pop();
    }
}

fn index(affine: &Affine, point: &Point) -> usize {
    let loops: i64 = affine.terms.iter().map(|(var, by)| by * point.loops[var.index()] as i64).sum();
    usize::try_from(affine.base + loops + affine.task * point.task as i64).expect("index not negative")
}

fn combine(op: Combine, sum: Option<Value>, value: Value) -> Value {
    let start = match (op, value) {
        (Combine::Sum, Value::F64(_)) => Value::F64(0.0),
        (Combine::Sum, _) => Value::F32(0.0),
        (Combine::Max, Value::F64(_)) => Value::F64(f64::NEG_INFINITY),
        (Combine::Max, _) => Value::F32(f32::NEG_INFINITY),
    };
    let op = match op {
        Combine::Sum => Binary::Add,
        Combine::Max => Binary::Max,
    };
    binary(op, sum.unwrap_or(start), value)
}

fn unary(op: Unary, a: Value) -> Value {
    match (op, a) {
        (Unary::ToInt, Value::F32(a)) => Value::I32(a.round_ties_even() as i32),
        (Unary::Not, Value::Bool(a)) => Value::Bool(!a),
        (_, Value::F32(a)) => Value::F32(match op {
            Unary::Neg => -a,
            Unary::Abs => a.abs(),
            Unary::Sqrt => a.sqrt(),
            Unary::Round => a.round_ties_even(),
            Unary::Floor => a.floor(),
            Unary::Bf16 => bf16::round(a),
            _ => ill_typed(),
        }),
        (_, Value::F64(a)) => Value::F64(match op {
            Unary::Neg => -a,
            Unary::Abs => a.abs(),
            Unary::Sqrt => a.sqrt(),
            Unary::Round => a.round_ties_even(),
            Unary::Floor => a.floor(),
            Unary::Exp => a.exp(),
            Unary::Log => a.ln(),
            Unary::Sin => a.sin(),
            Unary::Cos => a.cos(),
            _ => ill_typed(),
        }),
        _ => ill_typed(),
    }
}

fn binary(op: Binary, a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::F32(a), Value::F32(b)) => float(op, a, b).map_or_else(Value::Bool, Value::F32),
        (Value::F64(a), Value::F64(b)) if op == Binary::Pow => Value::F64(a.powf(b)),
        (Value::F64(a), Value::F64(b)) => float(op, a, b).map_or_else(Value::Bool, Value::F64),
        (Value::I32(a), Value::I32(b)) => int(op, a, b).map_or_else(Value::Bool, Value::I32),
        (Value::Bool(a), Value::Bool(b)) => Value::Bool(match op {
            Binary::And => a && b,
            Binary::Or => a || b,
            _ => ill_typed(),
        }),
        _ => ill_typed(),
    }
}

/// A number, or the answer of a comparison.
fn float<T>(op: Binary, a: T, b: T) -> Result<T, bool>
where
    T: Copy + PartialOrd + std::ops::Add<Output = T> + std::ops::Sub<Output = T>,
    T: std::ops::Mul<Output = T> + std::ops::Div<Output = T>,
{
    Ok(match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Max => {
            if b > a {
                b
            } else {
                a
            }
        }
        Binary::Min => {
            if b < a {
                b
            } else {
                a
            }
        }
        Binary::Lt => return Err(a < b),
        Binary::Le => return Err(a <= b),
        Binary::Eq => return Err(a == b),
        _ => ill_typed(),
    })
}

/// A number, or the answer of a comparison.
fn int(op: Binary, a: i32, b: i32) -> Result<i32, bool> {
    Ok(match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::Shl => a.wrapping_shl(b as u32),
        Binary::Shr => ((a as u32).wrapping_shr(b as u32)) as i32,
        Binary::Lt => return Err(a < b),
        Binary::Le => return Err(a <= b),
        Binary::Eq => return Err(a == b),
        _ => ill_typed(),
    })
}

fn mul_add(a: Value, b: Value, c: Value) -> Value {
    match (a, b, c) {
        (Value::F32(a), Value::F32(b), Value::F32(c)) => Value::F32(a.mul_add(b, c)),
        (Value::F64(a), Value::F64(b), Value::F64(c)) => Value::F64(a.mul_add(b, c)),
        _ => ill_typed(),
    }
}

fn convert(a: Value, ty: Ty) -> Value {
    match (a, ty) {
        (Value::I32(a), Ty::F32) => Value::F32(a as f32),
        (Value::I32(a), Ty::F64) => Value::F64(f64::from(a)),
        (Value::F32(a), Ty::F64) => Value::F64(f64::from(a)),
        (Value::F64(a), Ty::F32) => Value::F32(a as f32),
        _ => ill_typed(),
    }
}

fn bits(a: Value, ty: Ty) -> Value {
    match (a, ty) {
        (Value::I32(a), Ty::F32) => Value::F32(f32::from_bits(a as u32)),
        (Value::F32(a), Ty::I32) => Value::I32(a.to_bits() as i32),
        _ => ill_typed(),
    }
}

/// What `verify` excludes.
fn ill_typed() -> ! {
    panic!("operands of the wrong type")
}
