//! Statements that share code: equal but for the buffers that they touch and the numbers in them.
//!
//! The blocks of a deep network do the same to other memory. Each set of such statements becomes one *piece*, a
//! function that reads what differs from a table of arguments, so that the time to compile grows with the different
//! statements of a program, not with its depth. What is the same in all of them stays a constant.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use crate::loops::{Affine, Buffer, BufferId, Elem, Group, Inst, Level, Program, Stmt, Ty};

/// A program as pieces and the calls that its levels make.
pub struct Pieces {
    pub list: Vec<Piece>,
    /// By routine and level.
    pub levels: Vec<Vec<Vec<GroupCalls>>>,
    /// The program's buffers, and behind them the table of arguments under three types of element.
    pub buffers: Vec<Buffer>,
}

/// A statement with its place in a group.
pub struct Piece {
    /// With loads from the table of arguments for the numbers that differ.
    pub stmt: Stmt,
    pub frame: Frame,
    /// Buffers whose offsets are arguments, by their place in the table.
    pub moving: Vec<(BufferId, usize)>,
}

/// The positions of a statement's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Positions of one task.
    pub length: u64,
    /// Positions from one task to the next; zero where there is one task.
    pub chunk: u64,
}

/// What a group's tasks call, in order.
pub struct GroupCalls {
    /// Of all tasks, or all but the last.
    pub full: Vec<Call>,
    pub last: Option<Vec<Call>>,
}

pub struct Call {
    /// Index into [`Pieces::list`].
    pub piece: usize,
    pub arguments: Vec<u64>,
}

/// Types under which the table of arguments is read, in the order of its buffers.
const VIEWS: [Elem; 3] = [Elem::I32, Elem::F32, Elem::F64];
const ENTRY_BYTES: usize = 8;

impl Pieces {
    pub fn of(program: &Program) -> Pieces {
        let mut sorter = Sorter { buffers: &program.buffers, known: HashMap::new(), classes: Vec::new() };
        let levels: Vec<Vec<Vec<Uses>>> = program
            .routines
            .iter()
            .map(|routine| routine.levels.iter().map(|level| sorter.level(level)).collect())
            .collect();
        let views: Vec<BufferId> =
            (0..VIEWS.len()).map(|view| BufferId((program.buffers.len() + view) as u32)).collect();
        let classes: Vec<Class> =
            sorter.classes.into_iter().map(|members| Class::new(members, program, &views)).collect();
        let view = |elem| Buffer { name: "arguments".into(), elem, len: 0, offset: 0, persistent: false };
        let calls = |uses: &Vec<Use>| {
            uses.iter().map(|&(class, member)| classes[class].call(class, member)).collect()
        };
        let group = |uses: &Uses| GroupCalls { full: calls(&uses.0), last: uses.1.as_ref().map(calls) };
        let level = |groups: &Vec<Uses>| groups.iter().map(group).collect();
        let levels = levels.iter().map(|routine| routine.iter().map(level).collect()).collect();
        let buffers = program.buffers.iter().cloned().chain(VIEWS.map(view)).collect();
        Pieces { list: classes.into_iter().map(|class| class.piece).collect(), levels, buffers }
    }

    /// The buffers that stand for the table of arguments.
    pub fn tables(&self) -> impl Iterator<Item = BufferId> + use<> {
        let end = self.buffers.len();
        (end - VIEWS.len()..end).map(|index| BufferId(index as u32))
    }
}

/// Number of a class and of a member in it.
type Use = (usize, usize);
/// Of full tasks and of a shorter last one.
type Uses = (Vec<Use>, Option<Vec<Use>>);

/// A statement as it stands in the program.
struct Member {
    stmt: Stmt,
    frame: Frame,
    variables: Variables,
}

struct Sorter<'a> {
    buffers: &'a [Buffer],
    known: HashMap<Key, usize>,
    classes: Vec<Vec<Member>>,
}

impl Sorter<'_> {
    fn level(&mut self, level: &Level) -> Vec<Uses> {
        level.groups.iter().map(|group| self.group(group)).collect()
    }

    fn group(&mut self, group: &Group) -> Uses {
        let (tasks, rest) = (group.tasks(), group.extent % group.chunk);
        let whole = if tasks == 1 { group.extent } else { group.chunk };
        let chunk = if tasks == 1 { 0 } else { group.chunk as u64 };
        let mut all = |length: usize| {
            let frame = Frame { length: length as u64, chunk };
            group.body.iter().map(|stmt| self.sort(stmt, frame)).collect()
        };
        let full = all(whole);
        (full, (tasks > 1 && rest > 0).then(|| all(rest)))
    }

    /// Names what lies in one place alike: to generated code, a result that takes the place of its operand is that.
    fn with_places(&self, stmt: &Stmt) -> Stmt {
        let mut stmt = stmt.clone();
        let mut seen: Vec<BufferId> = Vec::new();
        stmt.for_buffers(&mut |buffer| {
            let place = |buffer: BufferId| self.buffers[buffer.index()].offset;
            match seen.iter().find(|&&other| place(other) == place(*buffer)) {
                Some(&first) => *buffer = first,
                None => seen.push(*buffer),
            }
        });
        stmt
    }

    fn sort(&mut self, stmt: &Stmt, frame: Frame) -> Use {
        let stmt = self.with_places(stmt);
        let (skeleton, variables) = Variables::take(stmt.clone());
        let elems = variables.buffers.iter().map(|buffer| self.buffers[buffer.index()].elem).collect();
        let next = self.classes.len();
        let class = *self.known.entry(Key { skeleton, elems, frame }).or_insert(next);
        if class == next {
            self.classes.push(Vec::new());
        }
        self.classes[class].push(Member { stmt, frame, variables });
        (class, self.classes[class].len() - 1)
    }
}

/// A statement without its variables. Equal keys can share code.
#[derive(PartialEq)]
struct Key {
    skeleton: Stmt,
    elems: Vec<Elem>,
    frame: Frame,
}

// The skeleton's floats are zeros.
impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.frame.hash(state);
        self.elems.hash(state);
        match &self.skeleton {
            Stmt::Nest(nest) => {
                (&nest.loops, nest.kept, nest.vector, nest.body.insts.len(), nest.finish.insts.len())
                    .hash(state);
                nest.body.stores.iter().chain(&nest.finish.stores).for_each(|store| store.index.hash(state));
            }
            Stmt::Gemm(gemm) => {
                (gemm.m, gemm.n, gemm.k, gemm.a, gemm.b, gemm.epilogue.insts.len()).hash(state)
            }
            Stmt::Orthonormalize { rows, cols, .. } => (rows, cols).hash(state),
        }
    }
}

/// What may differ between statements of one piece, in the order of the statement.
#[derive(Default)]
struct Variables {
    /// Each buffer once, where it first stands.
    buffers: Vec<BufferId>,
    /// Bits of every number.
    numbers: Vec<u64>,
}

impl Variables {
    /// Takes the variables out: buffers are numbered by their first use, numbers become zeros.
    fn take(mut stmt: Stmt) -> (Stmt, Variables) {
        let mut variables = Variables::default();
        stmt.for_buffers(&mut |buffer| {
            let known = variables.buffers.iter().position(|other| other == buffer);
            let number = known.unwrap_or(variables.buffers.len());
            if known.is_none() {
                variables.buffers.push(*buffer);
            }
            *buffer = BufferId(number as u32);
        });
        for_numbers(&mut stmt, &mut |inst| variables.numbers.push(take_bits(inst)));
        (stmt, variables)
    }
}

/// A number's bits, in whose place it becomes zero.
fn take_bits(inst: &mut Inst) -> u64 {
    match inst {
        Inst::Float(value, Ty::F64) => std::mem::take(value).to_bits(),
        Inst::Float(value, _) => u64::from((std::mem::take(value) as f32).to_bits()),
        Inst::Int(value) => u64::from(std::mem::take(value) as u32),
        _ => 0,
    }
}

fn for_numbers(stmt: &mut Stmt, visit: &mut impl FnMut(&mut Inst)) {
    stmt.for_scalars(&mut |scalars| {
        scalars
            .insts
            .iter_mut()
            .filter(|inst| matches!(inst, Inst::Float(..) | Inst::Int(_)))
            .for_each(&mut *visit);
    });
}

/// A piece and the arguments of its calls.
struct Class {
    piece: Piece,
    arguments: Vec<Vec<u64>>,
}

impl Class {
    fn new(members: Vec<Member>, program: &Program, views: &[BufferId]) -> Class {
        let (first, rest) = members.split_first().expect("a class begins with a member");
        let differ = |of: &dyn Fn(&Member) -> u64| rest.iter().any(|member| of(member) != of(first));
        let offset = |member: &Member, place: usize| {
            program.buffers[member.variables.buffers[place].index()].offset as u64
        };
        let buffers: Vec<usize> = (0..first.variables.buffers.len())
            .filter(|&place| differ(&|member| offset(member, place)))
            .collect();
        let numbers: Vec<usize> = (0..first.variables.numbers.len())
            .filter(|&place| differ(&|member| member.variables.numbers[place]))
            .collect();
        let arguments = |member: &Member| {
            let offsets = buffers.iter().map(|&place| offset(member, place));
            offsets.chain(numbers.iter().map(|&place| member.variables.numbers[place])).collect()
        };
        let moving = buffers.iter().enumerate().map(|(slot, &place)| (first.variables.buffers[place], slot));
        let piece = Piece {
            stmt: with_loads(first.stmt.clone(), &numbers, buffers.len(), views),
            frame: first.frame,
            moving: moving.collect(),
        };
        Class { piece, arguments: members.iter().map(arguments).collect() }
    }

    fn call(&self, piece: usize, member: usize) -> Call {
        Call { piece, arguments: self.arguments[member].clone() }
    }
}

/// Puts loads from the table, from entry `first` on, in the places of the numbers that are listed.
fn with_loads(mut stmt: Stmt, numbers: &[usize], first: usize, views: &[BufferId]) -> Stmt {
    let mut place = 0;
    for_numbers(&mut stmt, &mut |inst| {
        if let Ok(found) = numbers.binary_search(&place) {
            let view = match inst {
                Inst::Float(_, Ty::F64) => 2,
                Inst::Float(..) => 1,
                _ => 0,
            };
            let entry = (first + found) * (ENTRY_BYTES / VIEWS[view].bytes());
            *inst = Inst::Load(views[view], Affine { base: entry as i64, ..Affine::default() });
        }
        place += 1;
    });
    stmt
}
