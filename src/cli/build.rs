//! `blkc build FILE -o OUT`.

use std::fs;
use std::path::{Path, PathBuf};

use blk_runtime::header;
use clap::ValueEnum;

use super::common::{MPI, Machine, Sharing, Source};
use super::train::check_trainable;
use super::{Failure, Outcome, output};
use crate::codegen::{
    aot,
    link::{self, Output, Tools},
};
use crate::compile::{self, Compiled};
use crate::hessian::ranks::Ranks;
use crate::ir::Network;
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
    #[command(flatten)]
    sharing: Sharing,
    /// For how many ranks --sync-statistics is meant
    #[arg(long, value_name = "N", requires = "sync_statistics",
        value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    ranks: Option<u64>,
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
    let (network, ranks) = shared(args)?;
    check_trainable(&args.source, &network)?;
    let targets = args.machine.targets()?;
    check_place(&args.output)?;
    if args.emit == Emit::Lib && args.output.extension().is_some_and(|end| end == "h") {
        return Err(Failure::Usage("-o names the library; its header gets the same name with .h".into()));
    }
    let compiled = |target| compile::compile_for(&network, target, ranks);
    let paths = targets.iter().map(compiled).collect::<Result<Vec<_>, String>>()?;
    write(args, &paths)?;
    output::note(format_args!("wrote {}", args.output.display()));
    if args.emit == Emit::Lib {
        let header = args.output.with_extension("h");
        save(&header, header::header(&paths[0].manifest).as_bytes())?;
        output::note(format_args!("wrote {}", header.display()));
    }
    Ok(())
}

/// The network, and how ranks share its steps: a native trainer of a compiler with MPI runs alone and with others.
fn shared(args: &Args) -> Result<(Network, Ranks), Failure> {
    let alone = |what: &str| Err(Failure::Usage(format!("--sync-statistics: {what}")));
    match args.ranks {
        Some(_) if !MPI => alone("this blkc was built without its feature `mpi`"),
        Some(_) if args.emit != Emit::Exe => alone("only a native trainer runs on several ranks"),
        Some(ranks) => args.sharing.network(&args.source, ranks as usize),
        None if args.sharing.sync_statistics => alone(
            "for how many ranks? Say --ranks N; a native trainer has the size of the whole batch in its code",
        ),
        None if args.emit == Emit::Exe => args.sharing.network(&args.source, 1),
        None => Ok((args.source.network()?, Ranks::Alone)),
    }
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

fn write(args: &Args, paths: &[Compiled]) -> Result<(), String> {
    let bytes = match args.emit {
        Emit::Exe => return linked(args, paths, Output::Executable),
        Emit::Lib if args.output.extension().is_some_and(|end| end == "a") => {
            return linked(args, paths, Output::Archive(&header::EXPORTS));
        }
        Emit::Lib => return linked(args, paths, Output::Shared(&header::EXPORTS)),
        Emit::Obj => compile::with_paths(paths, aot::object)?,
        Emit::Asm => compile::with_paths(paths, aot::assembly)?.into_bytes(),
        Emit::LlvmIr => compile::with_paths(paths, aot::llvm_ir)?.into_bytes(),
        Emit::Loops => paths[0].program.to_string().into_bytes(),
    };
    save(&args.output, &bytes)
}

fn linked(args: &Args, paths: &[Compiled], output: Output) -> Result<(), String> {
    let target = &paths[0].target;
    let runtime = trainer::library(target.architecture())?;
    let object = compile::with_paths(paths, aot::object)?;
    link::link(&object, &runtime, output, &Tools::of(target), &args.output)
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
