//! The loop-level IR: buffers in one arena, levels of parallel tasks, loop nests over straight-line scalar programs,
//! and batch-reduce GEMMs with epilogues. Knows no block, no intrinsic and no LLVM.
//!
//! A routine is a list of levels with a barrier after each. A level is a set of groups; a group cuts one extent into
//! chunks, and each chunk is a task: a sequence of statements that reads and writes only what its chunk owns, or what
//! earlier levels finished. Chunks do not depend on the number of threads, so results have the same bits for any.
//! After a level, ranks (processes that run the same program on other samples) may exchange buffers.

pub mod bf16;
pub mod build;
pub mod interpret;
pub mod print;
pub mod traffic;
mod types;
pub mod verify;
mod visit;

use crate::ids::ids;

ids! {
    BufferId "@"
    /// A loop of a nest, outermost first. In a GEMM's epilogue 0 is the row, 1 the column, and then come its outer loops.
    LoopVar "i"
    /// The result of an instruction: its index in the program.
    Reg "%"
}

/// A compiled program before machine code.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub buffers: Vec<Buffer>,
    /// Bytes of the one arena in which every buffer lies.
    pub arena_bytes: usize,
    pub routines: Vec<Routine>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    pub name: String,
    pub elem: Elem,
    /// Entries.
    pub len: usize,
    /// Bytes from the start of the arena; a multiple of 64. Buffers whose lives do not meet may overlap.
    pub offset: usize,
    /// Keeps its content between routines: parameters, states, inputs, outputs.
    pub persistent: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Elem {
    F32,
    F64,
    I32,
    /// The upper half of an f32. Loads give the f32; what is stored has been rounded before ([`Unary::Bf16`]).
    Bf16,
}

impl Elem {
    pub fn bytes(self) -> usize {
        match self {
            Elem::Bf16 => 2,
            Elem::F32 | Elem::I32 => 4,
            Elem::F64 => 8,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Routine {
    pub name: String,
    pub levels: Vec<Level>,
}

impl Routine {
    pub fn tasks(&self) -> usize {
        self.levels.iter().map(Level::tasks).sum()
    }
}

/// Groups that may run at the same time; everything before it is finished.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    pub groups: Vec<Group>,
    /// Too little work to share: one thread runs all tasks in order.
    pub serial: bool,
    /// What all ranks that run the program together do when their tasks are done, before the next level.
    pub exchanges: Vec<Exchange>,
}

impl Level {
    pub fn tasks(&self) -> usize {
        self.groups.iter().map(Group::tasks).sum()
    }
}

/// A buffer becomes, entry by entry, the sum or maximum of this buffer on all ranks; alone it stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    pub op: Combine,
    pub buffer: BufferId,
}

/// One extent cut into chunks: task t covers positions `t*chunk .. min((t+1)*chunk, extent)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub label: String,
    /// Block (index) and pass to which `bench` counts its time.
    pub block: Option<u32>,
    pub pass: Pass,
    pub extent: usize,
    pub chunk: usize,
    pub body: Vec<Stmt>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pass {
    Forward,
    Backward,
    Update,
}

impl Group {
    pub fn tasks(&self) -> usize {
        self.extent.div_ceil(self.chunk)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    Nest(Nest),
    Gemm(Gemm),
    /// Makes the rows or columns (whichever are fewer) of a row-major f32 matrix orthonormal, in place.
    Orthonormalize {
        buffer: BufferId,
        rows: usize,
        cols: usize,
    },
}

/// How far a loop runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Range {
    /// `0..n`.
    Full(usize),
    /// The task's chunk: from its start (not from 0) to its end.
    Chunk,
}

/// Perfectly nested loops around a scalar program. The first `kept` loops index the result, the others are reduced:
/// for each point of the kept loops, accumulators start at the operation's identity, `body` runs over all points of
/// the reduced loops, then `finish` runs once with the accumulated values ([`Inst::Acc`]). With no reduced loop and
/// no accumulator, `body` does the stores and `finish` is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Nest {
    /// Outermost first.
    pub loops: Vec<Range>,
    pub kept: usize,
    /// The loop that runs along vectors. If it is kept and reduced loops follow, they run inside it, one vector of
    /// accumulators at a time. Its iterations are independent (kept) or combined in a fixed order (reduced). Where something is
    /// accumulated those of all kept loops are independent: several may be under way at once.
    pub vector: Option<LoopVar>,
    pub body: Scalars,
    pub accumulate: Vec<Accumulate>,
    pub finish: Scalars,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Accumulate {
    pub op: Combine,
    /// Register of `body`, F32 or F64.
    pub value: Reg,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Combine {
    Sum,
    Max,
}

/// C[m, n] = Σ_k A[m, k] · B[k, n], summed in f32, with an epilogue on each finished entry: [`Inst::Acc`]`(0)` is the entry,
/// [`LoopVar`]`(0)` its row and `(1)` its column; the stores of the epilogue are the only effect.
/// The sum runs over `terms` too (batch-reduce). With `outer` loops there is one such product for each of their
/// positions; in the epilogue they are loops 2, 3, ….
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Outermost first.
    pub outer: Vec<Outer>,
    pub m: Range,
    pub n: Range,
    pub k: Range,
    /// Strides of A along (m, k) and of B along (k, n), in entries.
    pub a: Operand,
    pub b: Operand,
    pub terms: Terms,
    pub arithmetic: Arithmetic,
    pub epilogue: Scalars,
}

/// What a product sums over besides k: offsets in entries of (A, B), one pair per term. Positions of the outer loops
/// may differ in them, as those at the border of an image do that see fewer taps.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    pub lists: Vec<Vec<(i64, i64)>>,
    /// The list of each position of the outer loops, at Σ position · [`Outer::list`].
    pub choice: Vec<u32>,
}

impl Terms {
    /// The same terms at every position.
    pub fn alike(list: Vec<(i64, i64)>) -> Terms {
        Terms { lists: vec![list], choice: vec![0] }
    }

    /// The terms at a position of the outer loops.
    pub fn at(&self, outer: &[Outer], position: &[usize]) -> &[(i64, i64)] {
        let place: usize = outer.iter().zip(position).map(|(outer, position)| outer.list * position).sum();
        &self.lists[self.choice[place] as usize]
    }

    /// The most terms that a position has.
    pub fn longest(&self) -> usize {
        self.lists.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// What a matrix product may do for its products, for the sake of speed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Arithmetic {
    /// Multiply-adds in f32.
    Fma,
    /// Anything that errs by about 1e-6 of Σ|a||b| (docs/performance.md says where by more), on operands that are finite and of like size
    /// among neighbours of a window.
    #[default]
    F32,
    /// Operands may be rounded to bf16 ([`Unary::Bf16`]), and subnormal ones count as zero; products are exact, and added
    /// in f32. The interpreter rounds all.
    Bf16,
}

/// A loop around a matrix product.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Outer {
    pub range: Range,
    /// Strides of A and of B along it, in entries.
    pub strides: (usize, usize),
    /// Stride along it in [`Terms::choice`]; 0 where its positions have the same terms.
    pub list: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Operand {
    pub buffer: BufferId,
    pub strides: (usize, usize),
}

/// A straight-line program in SSA form, then stores, in order.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Scalars {
    pub insts: Vec<Inst>,
    pub stores: Vec<Store>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    pub buffer: BufferId,
    pub index: Affine,
    pub value: Reg,
}

/// base + Σ coefficient·loop + task·(number of the task within its group), in entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Affine {
    pub base: i64,
    /// Each loop at most once, coefficients not zero.
    pub terms: Vec<(LoopVar, i64)>,
    pub task: i64,
}

impl Affine {
    /// The coefficient of a loop, in entries; 0 where the index does not move along it.
    pub fn along(&self, looped: LoopVar) -> i64 {
        self.terms.iter().find(|term| term.0 == looped).map_or(0, |term| term.1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ty {
    F32,
    F64,
    I32,
    Bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Inst {
    /// A number of type F32 or F64 (I32: see `Int`).
    Float(f64, Ty),
    Int(i32),
    /// Type by the buffer's element.
    Load(BufferId, Affine),
    /// Position of a loop, I32. A chunk loop counts from the start of the extent.
    Position(LoopVar),
    /// A finished accumulator (in `finish`, or entry 0 in an epilogue).
    Acc(usize),
    Unary(Unary, Reg),
    Binary(Binary, Reg, Reg),
    /// a·b + c in one rounding, F32 or F64.
    MulAdd(Reg, Reg, Reg),
    /// condition ? then : otherwise
    Select(Reg, Reg, Reg),
    /// I32 → float: by value (signed); F32 ↔ F64.
    Convert(Reg, Ty),
    /// Same 32 bits: F32 ↔ I32.
    Bits(Reg, Ty),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unary {
    Neg,
    Abs,
    Sqrt,
    /// To the nearest integer, ties to even (floats).
    Round,
    /// Largest integer not above (floats).
    Floor,
    /// Nearest integer of an F32 as I32 (the value is known to fit).
    ToInt,
    /// The bf16 nearest to an F32, ties to even, as an F32: see [`bf16`].
    Bf16,
    /// Condition.
    Not,
    /// F64 only, by the C library: for scalar expressions outside hot loops.
    Exp,
    Log,
    Sin,
    Cos,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Binary {
    /// Floats, or wrapping I32.
    Add,
    Sub,
    Mul,
    /// Floats.
    Div,
    /// `if b > a {b} else {a}`: a NaN in `a` stays.
    Max,
    /// `if b < a {b} else {a}`
    Min,
    /// F64 only, by the C library.
    Pow,
    /// Ordered comparisons of floats or of I32.
    Lt,
    Le,
    Eq,
    /// Conditions or I32 bits.
    And,
    Or,
    /// I32.
    Xor,
    Shl,
    /// Logical (zeros come in).
    Shr,
}
