//! Hand-built loop programs, and memory to run them in.

#![allow(dead_code, reason = "each test binary uses a part")]

use blkc::codegen::jit::Jit;
use blkc::codegen::llvm;
use blkc::codegen::target::Target;
use blkc::loops::build::ScalarBuilder;
use blkc::loops::{
    Accumulate, Affine, Arithmetic, Binary, Buffer, BufferId, Combine, Elem, Gemm, Group, Level, LoopVar,
    Nest, Operand, Outer, Pass, Program, Range, Reg, Routine, Scalars, Stmt, Terms, Ty, bf16, verify,
};

/// 64-byte aligned memory.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

pub struct Memory(Vec<Line>);

impl Memory {
    pub fn new(bytes: usize) -> Memory {
        Memory(vec![Line([0; 64]); bytes.div_ceil(64).max(1)])
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        let len = self.0.len() * 64;
        // SAFETY: lines are plain bytes, side by side.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
}

/// Runs the program on random numbers, after `change` of the memory; returns all of it.
pub fn run_program(program: &Program, target: &Target, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    verify::verify(program).expect("a sound program");
    let jit = Jit::new(program, target).expect("code");
    let mut arena = Memory::new(program.arena_bytes);
    let mut scratch = Memory::new(llvm::scratch_bytes(program, target));
    // What is not written must not matter.
    scratch.bytes().fill(0xff);
    fill(program, arena.bytes());
    change(arena.bytes());
    // SAFETY: both are as large as asked for and aligned.
    unsafe { jit.run(program, "run", arena.bytes().as_mut_ptr(), scratch.bytes().as_mut_ptr()) };
    arena.bytes().to_vec()
}

/// A program with one routine `run` in the making.
#[derive(Default)]
pub struct Maker {
    pub buffers: Vec<Buffer>,
    bytes: usize,
    levels: Vec<Level>,
}

impl Maker {
    pub fn buffer(&mut self, elem: Elem, len: usize) -> BufferId {
        let id = BufferId(self.buffers.len() as u32);
        let name = format!("b{}", id.0);
        self.buffers.push(Buffer { name, elem, len, offset: self.bytes, persistent: true });
        self.bytes += (len * elem.bytes()).next_multiple_of(64);
        id
    }

    /// A level with one group.
    pub fn level(&mut self, extent: usize, chunk: usize, body: Vec<Stmt>) {
        let group = Group { label: "group".into(), block: None, pass: Pass::Forward, extent, chunk, body };
        self.levels.push(Level { groups: vec![group], serial: false, exchanges: vec![] });
    }

    pub fn groups(&mut self, groups: Vec<(usize, usize, Vec<Stmt>)>) {
        let group = |(extent, chunk, body)| Group {
            label: "group".into(),
            block: None,
            pass: Pass::Forward,
            extent,
            chunk,
            body,
        };
        self.levels.push(Level {
            groups: groups.into_iter().map(group).collect(),
            serial: false,
            exchanges: vec![],
        });
    }

    pub fn program(self) -> Program {
        let routines = vec![Routine { name: "run".into(), levels: self.levels }];
        Program { buffers: self.buffers, arena_bytes: self.bytes, routines }
    }
}

pub fn at(terms: &[(u32, i64)]) -> Affine {
    let terms = terms.iter().filter(|(_, by)| *by != 0).map(|(var, by)| (LoopVar(*var), *by)).collect();
    Affine { base: 0, terms, task: 0 }
}

/// Fills f32 and f64 buffers with numbers in (-1, 1) and i32 buffers with small counts, always the same.
pub fn fill(program: &Program, arena: &mut [u8]) {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for buffer in &program.buffers {
        for entry in 0..buffer.len {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let number = (state >> 40) as f64 / f64::from(1 << 23) - 1.0;
            let at = buffer.offset + entry * buffer.elem.bytes();
            match buffer.elem {
                Elem::F32 => arena[at..at + 4].copy_from_slice(&(number as f32).to_le_bytes()),
                Elem::F64 => arena[at..at + 8].copy_from_slice(&number.to_le_bytes()),
                Elem::I32 => arena[at..at + 4].copy_from_slice(&((state >> 60) as i32).to_le_bytes()),
                Elem::Bf16 => {
                    let half = bf16::upper_half(bf16::round(number as f32));
                    arena[at..at + 2].copy_from_slice(&half.to_le_bytes());
                }
            }
        }
    }
}

pub fn floats(program: &Program, arena: &[u8], buffer: BufferId) -> Vec<f64> {
    let buffer = &program.buffers[buffer.index()];
    let bytes = |entry: usize| &arena[buffer.offset + entry * buffer.elem.bytes()..];
    let one = |entry| match buffer.elem {
        Elem::F32 => f64::from(f32::from_le_bytes(bytes(entry)[..4].try_into().unwrap())),
        Elem::F64 => f64::from_le_bytes(bytes(entry)[..8].try_into().unwrap()),
        Elem::Bf16 => {
            f64::from(bf16::from_upper_half(u16::from_le_bytes(bytes(entry)[..2].try_into().unwrap())))
        }
        Elem::I32 => f64::from(i32::from_le_bytes(bytes(entry)[..4].try_into().unwrap())),
    };
    (0..buffer.len).map(one).collect()
}

/// Which operand is transposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Orientation {
    /// C = A·Bᵀ, as y = x·Wᵀ.
    Forward,
    /// C = A·B, as dx = dy·W.
    Data,
    /// C = Aᵀ·B, as dW = dyᵀ·x.
    Weight,
    /// No stride is one.
    Spread,
}

impl Orientation {
    pub const ALL: [Orientation; 4] =
        [Orientation::Forward, Orientation::Data, Orientation::Weight, Orientation::Spread];
}

/// Strides of A along (m, k) and B along (k, n).
pub fn strides(orientation: Orientation, [m, n, k]: [usize; 3]) -> [(usize, usize); 2] {
    match orientation {
        Orientation::Forward => [(k, 1), (1, k)],
        Orientation::Data => [(k, 1), (n, 1)],
        Orientation::Weight => [(1, m), (n, 1)],
        Orientation::Spread => [(2 * k, 2), (2 * n, 2)],
    }
}

/// A matrix product in the making.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub orientation: Orientation,
    /// m, n, k.
    pub size: [usize; 3],
    pub terms: usize,
    pub by_rows: bool,
    /// Columns (or rows) per task.
    pub chunk: usize,
    /// Elements of A and B.
    pub elems: [Elem; 2],
    pub arithmetic: Arithmetic,
}

impl Product {
    /// Offsets of A and B from term to term.
    pub fn offsets(&self) -> (usize, usize) {
        let [m, n, k] = self.size;
        (2 * m * k, 2 * k * n)
    }

    /// `out[m, n] = max(sum + bias[n], 0)`; A, B, bias, out are buffers 0 to 3.
    pub fn program(&self) -> Program {
        self.with_columns(|_, bias| bias)
    }

    /// The same with the bias squared: something to compute for every column.
    pub fn with_squares(&self) -> Program {
        self.with_columns(|epilogue, bias| epilogue.mul(bias, bias))
    }

    fn with_columns(&self, of_bias: impl Fn(&mut ScalarBuilder, Reg) -> Reg) -> Program {
        let Product { orientation, size: [m, n, k], terms, by_rows, chunk, elems, arithmetic } = *self;
        let mut maker = Maker::default();
        let (a_len, b_len) = self.offsets();
        let a = maker.buffer(elems[0], a_len * terms);
        let b = maker.buffer(elems[1], b_len * terms);
        let bias = maker.buffer(Elem::F32, n);
        let out = maker.buffer(Elem::F32, m * n);
        let mut epilogue = ScalarBuilder::new(Ty::F32);
        let sum = epilogue.acc(0, Ty::F32);
        let bias = epilogue.load(bias, Elem::F32, at(&[(1, 1)]));
        let bias = of_bias(&mut epilogue, bias);
        let biased = epilogue.add(sum, bias);
        let zero = epilogue.number(0.0);
        let relu = epilogue.binary(Binary::Max, biased, zero);
        epilogue.store(out, at(&[(0, n as i64), (1, 1)]), relu);
        let [a_strides, b_strides] = strides(orientation, [m, n, k]);
        let gemm = Gemm {
            outer: vec![],
            m: if by_rows { Range::Chunk } else { Range::Full(m) },
            n: if by_rows { Range::Full(n) } else { Range::Chunk },
            k: Range::Full(k),
            a: Operand { buffer: a, strides: a_strides },
            b: Operand { buffer: b, strides: b_strides },
            terms: Terms::alike(
                (0..terms).map(|term| ((term * a_len) as i64, (term * b_len) as i64)).collect(),
            ),
            arithmetic,
            epilogue: epilogue.finish(),
        };
        maker.level(if by_rows { m } else { n }, chunk, vec![Stmt::Gemm(gemm)]);
        maker.program()
    }
}

/// An epilogue that stores the sum, at strides by loop.
fn stored(out: BufferId, to: &[(u32, i64)]) -> Scalars {
    let mut epilogue = ScalarBuilder::new(Ty::F32);
    let sum = epilogue.acc(0, Ty::F32);
    epilogue.store(out, at(to), sum);
    epilogue.finish()
}

/// The gradient of a convolution's weights along one axis: `out[tap][m, n] = Σ_h Σ_k a[h][k, m]·b[h + tap - 1][k, n]`, where
/// there are three taps, and `length` positions of both. A, B and out are buffers 0 to 2.
pub fn tap_gradients(
    [m, n, k]: [usize; 3],
    length: usize,
    elems: [Elem; 2],
    arithmetic: Arithmetic,
) -> Program {
    let mut maker = Maker::default();
    let a = maker.buffer(elems[0], length * k * m);
    let b = maker.buffer(elems[1], length * k * n);
    let out = maker.buffer(Elem::F32, 3 * m * n);
    let to = [(0, n as i64), (1, 1), (2, (m * n) as i64)];
    let list = |tap: usize| {
        let positions = (0..length).filter(|h| (1..=length).contains(&(h + tap)));
        positions.map(|h| ((h * k * m) as i64, (h as i64 - 1) * (k * n) as i64)).collect()
    };
    let gemm = Gemm {
        outer: vec![Outer { range: Range::Full(3), strides: (0, k * n), list: 1 }],
        m: Range::Chunk,
        n: Range::Full(n),
        k: Range::Full(k),
        a: Operand { buffer: a, strides: (1, m) },
        b: Operand { buffer: b, strides: (n, 1) },
        terms: Terms { lists: (0..3).map(list).collect(), choice: vec![0, 1, 2] },
        arithmetic,
        epilogue: stored(out, &to),
    };
    maker.level(m, m.div_ceil(2), vec![Stmt::Gemm(gemm)]);
    maker.program()
}

/// A square window: taps along a side, zeros around the image, and positions along y of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub taps: usize,
    pub pad: usize,
    pub chunk: usize,
}

/// A convolution: `out[y, x][m, n] = Σ_ij Σ_k a[y + i - pad, x + j - pad][m, k] · b[i, j][k, n]`, in chunks along y, or along the
/// columns where `chunk` is 0. A, B and out are buffers 0 to 2.
pub fn windows(
    [m, n, k]: [usize; 3],
    [height, width]: [usize; 2],
    Window { taps, pad, chunk }: Window,
    elems: [Elem; 2],
    arithmetic: Arithmetic,
) -> Program {
    let mut maker = Maker::default();
    let a = maker.buffer(elems[0], height * width * m * k);
    let b = maker.buffer(elems[1], taps * taps * k * n);
    let [rows, columns] = [height, width].map(|extent| extent + 2 * pad + 1 - taps);
    let out = maker.buffer(Elem::F32, rows * columns * m * n);
    let to = [(0, n as i64), (1, 1), (2, (columns * m * n) as i64), (3, (m * n) as i64)];
    let list = |y: usize, x: usize| -> Vec<(i64, i64)> {
        let all = (0..taps).flat_map(|i| (0..taps).map(move |j| (i, j)));
        let inside = all
            .filter(|(i, j)| (pad..height + pad).contains(&(y + i)) && (pad..width + pad).contains(&(x + j)));
        let offset = |(i, j): (usize, usize)| {
            let place = (i as i64 - pad as i64) * width as i64 + j as i64 - pad as i64;
            (place * (m * k) as i64, ((taps * i + j) * k * n) as i64)
        };
        inside.map(offset).collect()
    };
    let positions = || (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x)));
    // Without a border all positions are alike.
    let terms = match pad {
        0 => Terms::alike(list(0, 0)),
        _ => Terms {
            lists: positions().map(|(y, x)| list(y, x)).collect(),
            choice: (0..(rows * columns) as u32).collect(),
        },
    };
    let by = |list: usize| if pad == 0 { 0 } else { list };
    let along_y = if chunk > 0 { Range::Chunk } else { Range::Full(rows) };
    let gemm = Gemm {
        outer: vec![
            Outer { range: along_y, strides: (width * m * k, 0), list: by(columns) },
            Outer { range: Range::Full(columns), strides: (m * k, 0), list: by(1) },
        ],
        m: Range::Full(m),
        n: if chunk > 0 { Range::Full(n) } else { Range::Chunk },
        k: Range::Full(k),
        a: Operand { buffer: a, strides: (k, 1) },
        b: Operand { buffer: b, strides: (n, 1) },
        terms,
        arithmetic,
        epilogue: stored(out, &to),
    };
    match chunk {
        0 => maker.level(n, n.div_ceil(2), vec![Stmt::Gemm(gemm)]),
        _ => maker.level(rows, chunk, vec![Stmt::Gemm(gemm)]),
    }
    maker.program()
}

/// The gradient of such a window with a border of (taps - 1) / 2 = p: `out[i, j][m, n] = Σ_yx Σ_k
/// fixed[y, x][k, ·]·sliding[y + i - p, x + j - p][k, ·]`, in chunks along the rows m. A, B and out are buffers 0 to 2; B slides, or A.
pub fn window_gradients(
    [m, n, k]: [usize; 3],
    [height, width]: [usize; 2],
    (taps, b_slides): (usize, bool),
    elems: [Elem; 2],
    arithmetic: Arithmetic,
) -> Program {
    let mut maker = Maker::default();
    let a = maker.buffer(elems[0], height * width * k * m);
    let b = maker.buffer(elems[1], height * width * k * n);
    let out = maker.buffer(Elem::F32, taps * taps * m * n);
    let pad = (taps - 1) / 2;
    // The loop along x comes first.
    let to = [(0, n as i64), (1, 1), (2, (m * n) as i64), (3, (taps * m * n) as i64)];
    let [fixed, sliding] = if b_slides { [k * m, k * n] } else { [k * n, k * m] };
    let list = |j: usize, i: usize| -> Vec<(i64, i64)> {
        let positions = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let inside = positions
            .filter(|(y, x)| (pad..height + pad).contains(&(y + i)) && (pad..width + pad).contains(&(x + j)));
        let offsets = |(y, x): (usize, usize)| {
            let place = (y * width + x) as i64;
            let slid = (place - (pad * (width + 1)) as i64) * sliding as i64;
            let stays = place * fixed as i64;
            if b_slides { (stays, slid) } else { (slid, stays) }
        };
        inside.map(offsets).collect()
    };
    let strides = |stride: usize| if b_slides { (0, stride) } else { (stride, 0) };
    let outer = |stride, list| Outer { range: Range::Full(taps), strides: strides(stride), list };
    let gemm = Gemm {
        outer: vec![outer(sliding, taps), outer(width * sliding, 1)],
        m: Range::Chunk,
        n: Range::Full(n),
        k: Range::Full(k),
        a: Operand { buffer: a, strides: (1, m) },
        b: Operand { buffer: b, strides: (n, 1) },
        terms: Terms {
            lists: (0..taps).flat_map(|j| (0..taps).map(move |i| list(j, i))).collect(),
            choice: (0..(taps * taps) as u32).collect(),
        },
        arithmetic,
        epilogue: stored(out, &to),
    };
    maker.level(m, m.div_ceil(2), vec![Stmt::Gemm(gemm)]);
    maker.program()
}

/// The like in f32.
pub fn gemm(
    orientation: Orientation,
    size: [usize; 3],
    terms: usize,
    by_rows: bool,
    chunk: usize,
) -> Program {
    let (elems, arithmetic) = ([Elem::F32; 2], Arithmetic::F32);
    Product { orientation, size, terms, by_rows, chunk, elems, arithmetic }.program()
}

/// y[i, j] = f(x[i, j], s[j], r[i]) with some of every operation, along rows in chunks.
pub fn elementwise(rows: usize, cols: usize, chunk: usize, vector: Option<u32>) -> Program {
    let mut maker = Maker::default();
    let x = maker.buffer(Elem::F32, rows * cols);
    let s = maker.buffer(Elem::F32, cols);
    let r = maker.buffer(Elem::F64, rows);
    let labels = maker.buffer(Elem::I32, rows);
    let y = maker.buffer(Elem::F32, rows * cols);
    let column_major = maker.buffer(Elem::F32, rows * cols);
    let counts = maker.buffer(Elem::I32, rows * cols);
    let mut code = ScalarBuilder::new(Ty::F32);
    let entry = code.load(x, Elem::F32, at(&[(0, cols as i64), (1, 1)]));
    let scale = code.load(s, Elem::F32, at(&[(1, 1)]));
    let per_row = code.load(r, Elem::F64, at(&[(0, 1)]));
    let per_row = code.unary(blkc::loops::Unary::Exp, per_row);
    let per_row = code.convert(per_row, Ty::F32);
    let label = code.load(labels, Elem::I32, at(&[(0, 1)]));
    let column = code.position(LoopVar(1));
    let hit = code.binary(Binary::Eq, label, column);
    let product = code.mul_add(entry, scale, per_row);
    let rounded = code.unary(blkc::loops::Unary::Round, product);
    let floored = code.unary(blkc::loops::Unary::Floor, product);
    let shifted = code.sub(rounded, floored);
    let seven = code.number(7.0);
    let scaled = code.mul(product, seven);
    let whole = code.unary(blkc::loops::Unary::ToInt, scaled);
    let three = code.int(3);
    let moved = code.binary(Binary::Shl, whole, three);
    let mixed = code.binary(Binary::Xor, moved, column);
    let root = code.unary(blkc::loops::Unary::Abs, shifted);
    let root = code.unary(blkc::loops::Unary::Sqrt, root);
    let result = code.select(hit, root, product);
    code.store(y, at(&[(0, cols as i64), (1, 1)]), result);
    code.store(column_major, at(&[(0, 1), (1, rows as i64)]), result);
    code.store(counts, at(&[(0, cols as i64), (1, 1)]), mixed);
    let nest = Nest {
        loops: vec![Range::Chunk, Range::Full(cols)],
        kept: 2,
        vector: vector.map(LoopVar),
        body: code.finish(),
        accumulate: Vec::new(),
        finish: Scalars::default(),
    };
    maker.level(rows, chunk, vec![Stmt::Nest(nest)]);
    maker.program()
}

/// Sum of squares and maximum of x[i, j] over i (`over_rows`) or j, the kept loop in chunks.
pub fn reduction(rows: usize, cols: usize, chunk: usize, over_rows: bool, vector: Option<u32>) -> Program {
    let mut maker = Maker::default();
    let (kept, reduced) = if over_rows { (cols, rows) } else { (rows, cols) };
    let x = maker.buffer(Elem::F32, rows * cols);
    let sums = maker.buffer(Elem::F64, kept);
    let maxima = maker.buffer(Elem::F32, kept);
    let index = if over_rows { at(&[(0, 1), (1, cols as i64)]) } else { at(&[(0, cols as i64), (1, 1)]) };
    let mut body = ScalarBuilder::new(Ty::F32);
    let entry = body.load(x, Elem::F32, index);
    let wide = body.convert(entry, Ty::F64);
    let square = body.mul(wide, wide);
    let accumulate =
        vec![Accumulate { op: Combine::Sum, value: square }, Accumulate { op: Combine::Max, value: entry }];
    let mut finish = ScalarBuilder::new(Ty::F32);
    let sum = finish.acc(0, Ty::F64);
    let sum = finish.unary(blkc::loops::Unary::Sqrt, sum);
    let max = finish.acc(1, Ty::F32);
    finish.store(sums, at(&[(0, 1)]), sum);
    finish.store(maxima, at(&[(0, 1)]), max);
    let nest = Nest {
        loops: vec![Range::Chunk, Range::Full(reduced)],
        kept: 1,
        vector: vector.map(LoopVar),
        body: body.finish(),
        accumulate,
        finish: finish.finish(),
    };
    maker.level(kept, chunk, vec![Stmt::Nest(nest)]);
    maker.program()
}

/// out[y, x, c] = Σ_ij (x + 1) w[i, j, c]·image[y + i, x + j, c] + bias[y] + y, and the largest such entry of the image, for
/// `extents` y, x and i, j and so many channels, of which a task has `chunk`.
pub fn sliding([y, x, i, j]: [usize; 4], channels: usize, chunk: usize) -> Program {
    let mut maker = Maker::default();
    let (c, width) = (channels as i64, (x + j - 1) as i64);
    let image = maker.buffer(Elem::F32, (y + i - 1) * (x + j - 1) * channels);
    let weights = maker.buffer(Elem::F32, i * j * channels);
    let bias = maker.buffer(Elem::F32, y);
    let sums = maker.buffer(Elem::F32, y * x * channels);
    let maxima = maker.buffer(Elem::F32, y * x * channels);
    let as_float = |body: &mut ScalarBuilder, var: u32| {
        let position = body.position(LoopVar(var));
        body.convert(position, Ty::F32)
    };
    let mut body = ScalarBuilder::new(Ty::F32);
    let places = [(0, width * c), (1, c), (2, 1), (3, width * c), (4, c)];
    let entry = body.load(image, Elem::F32, at(&places));
    let weight = body.load(weights, Elem::F32, at(&[(2, 1), (3, j as i64 * c), (4, c)]));
    let one = body.number(1.0);
    let column = as_float(&mut body, 1);
    let factor = body.add(column, one);
    let product = body.mul(weight, entry);
    let scaled = body.mul(factor, product);
    let accumulate =
        vec![Accumulate { op: Combine::Sum, value: scaled }, Accumulate { op: Combine::Max, value: entry }];
    let mut finish = ScalarBuilder::new(Ty::F32);
    let kept = at(&[(0, x as i64 * c), (1, c), (2, 1)]);
    let sum = finish.acc(0, Ty::F32);
    let shift = finish.load(bias, Elem::F32, at(&[(0, 1)]));
    let row = as_float(&mut finish, 0);
    let shift = finish.add(shift, row);
    let sum = finish.add(sum, shift);
    let max = finish.acc(1, Ty::F32);
    finish.store(sums, kept.clone(), sum);
    finish.store(maxima, kept, max);
    let nest = Nest {
        loops: vec![Range::Full(y), Range::Full(x), Range::Chunk, Range::Full(i), Range::Full(j)],
        kept: 3,
        vector: Some(LoopVar(2)),
        body: body.finish(),
        accumulate,
        finish: finish.finish(),
    };
    maker.level(channels, chunk, vec![Stmt::Nest(nest)]);
    maker.program()
}
