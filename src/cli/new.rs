//! `blkc new NAME`.

use std::fs;
use std::path::Path;

use super::{Failure, Outcome, output};
use crate::diag;
use crate::driver::{self, FrontOptions};
use crate::source::MemoryLoader;

/// Writes a small project: a .blk file that trains on the embedded digits
#[derive(clap::Args)]
#[command(after_help = "Example: blkc new first && blkc train first/first.blk")]
pub struct Args {
    /// Name of the folder and of the network: letters, digits and _, a letter first
    name: String,
}

/// The project's file, with NAME for the network's name.
const TEMPLATE: &str = include_str!("../../examples/digits.blk");

pub fn run(args: &Args) -> Outcome {
    if !is_identifier(&args.name) {
        return Err(Failure::Usage(format!(
            "`{}` cannot name a network: use letters, digits and _, a letter first",
            args.name
        )));
    }
    let folder = Path::new(&args.name);
    let file = folder.join(format!("{}.blk", args.name));
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", file.display());
    if folder.exists() {
        return Err(format!("{} exists already", folder.display()).into());
    }
    let text = TEMPLATE
        .replace("network digits(", &format!("network {}(", args.name))
        .replace("train digits {", &format!("train {} {{", args.name));
    if !compiles(&text) {
        return Err(Failure::Usage(format!(
            "`{}` is a word of the language and cannot name a network",
            args.name
        )));
    }
    fs::create_dir_all(folder).map_err(failed)?;
    fs::write(&file, text).map_err(failed)?;
    output::result(format_args!("wrote {0}\nnext: blkc train {0}\n", file.display()))
}

/// A name that the language has taken breaks the file that is fine under every other name.
fn compiles(text: &str) -> bool {
    const FILE: &str = "new.blk";
    let loader = MemoryLoader([(FILE.to_string(), text.to_string())].into());
    !diag::has_errors(&driver::front(FILE, &loader, &FrontOptions::default()).diagnostics)
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
