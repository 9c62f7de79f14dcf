//! `blkc build FILE -o OUT`.

use std::fs;
use std::path::PathBuf;

use clap::ValueEnum;

use super::Outcome;
use super::common::{Machine, Source};
use super::train::trainable;
use crate::codegen::{
    aot,
    link::{self, Output},
};
use crate::compile::{self, Compiled};
use crate::trainer;

/// Compiles to a self-contained native trainer
#[derive(clap::Args)]
#[command(after_help = "Example: blkc build examples/digits.blk -o digits && ./digits --epochs 5")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// The file to write
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = Emit::Exe)]
    emit: Emit,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Emit {
    /// A native trainer
    Exe,
    /// Its object file, without the runtime
    Obj,
    Asm,
    LlvmIr,
}

pub fn run(args: &Args) -> Outcome {
    let network = trainable(&args.source)?;
    let compiled = compile::compile(&network, &args.machine.target()?)?;
    write(args, &compiled)?;
    eprintln!("wrote {}", args.output.display());
    Ok(())
}

fn write(args: &Args, compiled: &Compiled) -> Result<(), String> {
    let (program, target) = (&compiled.program, &compiled.target);
    let bytes = match args.emit {
        Emit::Exe => {
            return link::link(
                &compile::object(compiled)?,
                &trainer::library()?,
                Output::Executable,
                &args.output,
            );
        }
        Emit::Obj => compile::object(compiled)?,
        Emit::Asm => aot::assembly(program, target)?.into_bytes(),
        Emit::LlvmIr => aot::llvm_ir(program, target)?.into_bytes(),
    };
    fs::write(&args.output, bytes).map_err(|error| format!("cannot write {}: {error}", args.output.display()))
}
