//! `blkc build FILE -o OUT`.

use std::fs;
use std::path::{Path, PathBuf};

use blk_runtime::header;
use clap::ValueEnum;

use super::common::{Machine, Source};
use super::train::trainable;
use super::{Failure, Outcome, output};
use crate::codegen::{
    aot,
    link::{self, Output},
};
use crate::compile::{self, Compiled};
use crate::trainer;

/// Compiles to a self-contained native trainer, or to a library with a C header
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
    /// A shared library (OUT ending in .a: a static one), and its C header beside it
    Lib,
    /// Its object file, without the runtime
    Obj,
    Asm,
    LlvmIr,
    /// The loop program as text, before LLVM
    Loops,
}

pub fn run(args: &Args) -> Outcome {
    let network = trainable(&args.source)?;
    let target = args.machine.target()?;
    check_place(&args.output)?;
    if args.emit == Emit::Lib && args.output.extension().is_some_and(|end| end == "h") {
        return Err(Failure::Usage("-o names the library; its header gets the same name with .h".into()));
    }
    let compiled = compile::compile(&network, &target)?;
    write(args, &compiled)?;
    output::note(format_args!("wrote {}", args.output.display()));
    if args.emit == Emit::Lib {
        let header = args.output.with_extension("h");
        save(&header, header::header(&compiled.manifest).as_bytes())?;
        output::note(format_args!("wrote {}", header.display()));
    }
    Ok(())
}

/// What cannot be written is said before there is anything to write.
fn check_place(output: &Path) -> Result<(), String> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if output.is_dir() {
        return Err(format!("cannot write {}: it is a folder", output.display()));
    }
    match folder.is_dir() {
        true => Ok(()),
        false => Err(format!("cannot write {}: there is no folder {}", output.display(), folder.display())),
    }
}

fn write(args: &Args, compiled: &Compiled) -> Result<(), String> {
    let (program, target) = (&compiled.program, &compiled.target);
    let bytes = match args.emit {
        Emit::Exe => return linked(args, compiled, Output::Executable),
        Emit::Lib if args.output.extension().is_some_and(|end| end == "a") => {
            return linked(args, compiled, Output::Archive(&header::EXPORTS));
        }
        Emit::Lib => return linked(args, compiled, Output::Shared(&header::EXPORTS)),
        Emit::Obj => compile::object(compiled)?,
        Emit::Asm => aot::assembly(program, target)?.into_bytes(),
        Emit::LlvmIr => aot::llvm_ir(program, target)?.into_bytes(),
        Emit::Loops => program.to_string().into_bytes(),
    };
    save(&args.output, &bytes)
}

fn linked(args: &Args, compiled: &Compiled, output: Output) -> Result<(), String> {
    link::link(&compile::object(compiled)?, &trainer::library()?, output, &args.output)
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
