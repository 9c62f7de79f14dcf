//! The readable dump of a program.

use std::fmt;

use super::{Affine, Combine, Exchange, Gemm, Group, Inst, Nest, Program, Range, Scalars, Stmt};

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "arena {} bytes", self.arena_bytes)?;
        for (number, buffer) in self.buffers.iter().enumerate() {
            let kept = if buffer.persistent { " persistent" } else { "" };
            let elem = format!("{:?}", buffer.elem).to_lowercase();
            writeln!(f, "@{number} {} : {elem}[{}] at {}{kept}", buffer.name, buffer.len, buffer.offset)?;
        }
        for routine in &self.routines {
            writeln!(f, "\nroutine {}", routine.name)?;
            for (number, level) in routine.levels.iter().enumerate() {
                writeln!(f, "  level {number}{}", if level.serial { " serial" } else { "" })?;
                level.groups.iter().try_for_each(|group| print_group(f, group))?;
                for Exchange { op, buffer } in &level.exchanges {
                    writeln!(f, "    exchange {} {buffer} over ranks", combine(*op))?;
                }
            }
        }
        Ok(())
    }
}

fn print_group(f: &mut fmt::Formatter, group: &Group) -> fmt::Result {
    let tasks = group.tasks();
    let pass = format!("{:?}", group.pass).to_lowercase();
    writeln!(f, "    group {} ({pass}): {} by {}, tasks {tasks}", group.label, group.extent, group.chunk)?;
    for stmt in &group.body {
        match stmt {
            Stmt::Nest(nest) => print_nest(f, nest)?,
            Stmt::Gemm(gemm) => print_gemm(f, gemm)?,
            Stmt::Orthonormalize { buffer, rows, cols } => {
                writeln!(f, "      orthonormalize {buffer} {rows}x{cols}")?;
            }
        }
    }
    Ok(())
}

fn combine(op: Combine) -> &'static str {
    match op {
        Combine::Sum => "sum",
        Combine::Max => "max",
    }
}

fn print_nest(f: &mut fmt::Formatter, nest: &Nest) -> fmt::Result {
    write!(f, "      for")?;
    for (number, range) in nest.loops.iter().enumerate() {
        let reduced = if number >= nest.kept { "reduce " } else { "" };
        let vector = if nest.vector.is_some_and(|var| var.index() == number) { " vector" } else { "" };
        write!(f, " {reduced}i{number}<{range}{vector}")?;
    }
    writeln!(f)?;
    print_scalars(f, &nest.body, "        ")?;
    for (number, sum) in nest.accumulate.iter().enumerate() {
        writeln!(f, "        acc{number} = {} {}", combine(sum.op), sum.value)?;
    }
    if !nest.accumulate.is_empty() {
        writeln!(f, "      finish")?;
        print_scalars(f, &nest.finish, "        ")?;
    }
    Ok(())
}

fn print_gemm(f: &mut fmt::Formatter, gemm: &Gemm) -> fmt::Result {
    write!(f, "      gemm")?;
    for outer in &gemm.outer {
        write!(f, " for<{}{:?}", outer.range, outer.strides)?;
    }
    write!(f, " m<{} n<{} k<{}", gemm.m, gemm.n, gemm.k)?;
    write!(f, " A {}{:?} B {}{:?}", gemm.a.buffer, gemm.a.strides, gemm.b.buffer, gemm.b.strides)?;
    let arithmetic = format!("{:?}", gemm.arithmetic).to_lowercase();
    for list in &gemm.terms.lists {
        write!(f, " terms {list:?}")?;
    }
    if gemm.terms.lists.len() > 1 {
        write!(f, " choice {:?}", gemm.terms.choice)?;
    }
    writeln!(f, " by {arithmetic}")?;
    print_scalars(f, &gemm.epilogue, "        ")
}

fn print_scalars(f: &mut fmt::Formatter, scalars: &Scalars, indent: &str) -> fmt::Result {
    for (number, inst) in scalars.insts.iter().enumerate() {
        writeln!(f, "{indent}%{number} = {inst}")?;
    }
    for store in &scalars.stores {
        writeln!(f, "{indent}{}[{}] = {}", store.buffer, store.index, store.value)?;
    }
    Ok(())
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Range::Full(extent) => write!(f, "{extent}"),
            Range::Chunk => write!(f, "chunk"),
        }
    }
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.base)?;
        self.terms.iter().try_for_each(|(var, by)| write!(f, " + {by}*{var}"))?;
        if self.task == 0 { Ok(()) } else { write!(f, " + {}*task", self.task) }
    }
}

impl fmt::Display for Inst {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let lower = |name: &dyn fmt::Debug| format!("{name:?}").to_lowercase();
        match self {
            Inst::Float(value, ty) => write!(f, "{} {value:?}", lower(ty)),
            Inst::Int(value) => write!(f, "i32 {value}"),
            Inst::Load(buffer, at) => write!(f, "{buffer}[{at}]"),
            Inst::Position(var) => write!(f, "position {var}"),
            Inst::Acc(index) => write!(f, "acc{index}"),
            Inst::Unary(op, a) => write!(f, "{} {a}", lower(op)),
            Inst::Binary(op, a, b) => write!(f, "{} {a} {b}", lower(op)),
            Inst::MulAdd(a, b, c) => write!(f, "muladd {a} {b} {c}"),
            Inst::Select(condition, a, b) => write!(f, "select {condition} {a} {b}"),
            Inst::Convert(a, ty) => write!(f, "convert {a} to {}", lower(ty)),
            Inst::Bits(a, ty) => write!(f, "bits {a} as {}", lower(ty)),
        }
    }
}
