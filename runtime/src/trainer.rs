//! The command line of a native trainer.

use std::ffi::OsString;
use std::io::Write;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::Error;
use crate::bench::{BenchOptions, bench};
use crate::manifest::{Manifest, Outline};
use crate::options::TrainOptions;
use crate::predict::{Meaning, PredictOptions, predict};
use crate::program::Program;
use crate::progress::{Terminal, result_lines};
use crate::ranks;
use crate::report::Silent;
use crate::train::{self, Inputs};

/// Trains the network that this program was built from.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    train: TrainOptions,
    #[command(flatten)]
    fixed: Fixed,
}

#[derive(Subcommand)]
enum Verb {
    /// Train (also without a verb)
    Train {
        #[command(flatten)]
        options: Box<TrainOptions>,
        #[command(flatten)]
        fixed: Fixed,
    },
    /// Predict classes or values
    Predict {
        #[command(flatten)]
        options: PredictOptions,
        #[command(flatten)]
        fixed: Fixed,
    },
    /// Time the training step on synthetic data
    Bench {
        #[command(flatten)]
        options: BenchOptions,
        /// How to write the result
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        #[command(flatten)]
        fixed: Fixed,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

const EXAMPLES: &str = "Examples:\n  --data digits --epochs 20 --out runs/first\n  --resume runs/first\n  \
     predict --weights runs/first/best.safetensors --data digits\n  bench --format json";

/// What the compiler's `train` takes and a built program no longer can.
#[derive(Args)]
struct Fixed {
    #[arg(long, hide = true)]
    batch: Option<String>,
    #[arg(long, hide = true)]
    precision: Option<String>,
    #[arg(long, hide = true)]
    optimizer: Option<String>,
    #[arg(long, hide = true)]
    schedule: Option<String>,
    #[arg(long, hide = true)]
    network: Option<String>,
    #[arg(long, hide = true)]
    target_cpu: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    target_features: Option<String>,
}

impl Fixed {
    fn check(&self) -> Result<(), Error> {
        let asked = [
            ("batch", &self.batch),
            ("precision", &self.precision),
            ("optimizer", &self.optimizer),
            ("schedule", &self.schedule),
            ("network", &self.network),
            ("target-cpu", &self.target_cpu),
            ("target-features", &self.target_features),
        ];
        match asked.iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => Err(Error::usage(format!("--{name} is fixed when the program is built"))
                .with_help(
                    "build it again with `blkc build`, or use `blkc train`, which compiles for every run",
                )),
            None => Ok(()),
        }
    }
}

/// Runs the trainer on `args` (its own name first) and returns the exit status: 0, 1 for an error of the data or the
/// run, 2 for the command line, 130 after an interruption. `load` makes the program; it is not called for `--help`.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    manifest: &[u8],
    load: impl FnOnce(Manifest) -> Result<Program, Error>,
) -> u8 {
    let status = try_main(args, manifest, load).unwrap_or_else(|error| {
        if !ranks::is_told_elsewhere() {
            let _ = writeln!(std::io::stderr(), "error: {error}");
        }
        error.exit_code()
    });
    ranks::leave(status);
    status
}

fn try_main(
    args: impl IntoIterator<Item = OsString>,
    manifest: &[u8],
    load: impl FnOnce(Manifest) -> Result<Program, Error>,
) -> Result<u8, Error> {
    let manifest = Manifest::parse(manifest)?;
    let cli = match parse(args, &manifest) {
        Ok(cli) => cli,
        Err(refused) => {
            let _ = refused.print();
            return Ok(refused.exit_code() as u8);
        }
    };
    cli.fixed.check()?;
    match cli.verb {
        None => read_and_train(manifest, load, &cli.train),
        Some(Verb::Train { options, fixed }) => {
            fixed.check()?;
            read_and_train(manifest, load, &options)
        }
        Some(Verb::Predict { options, fixed }) => {
            fixed.check()?;
            ranks::refuse("predict")?;
            options.check()?;
            predict_and_print(&mut load(manifest)?, &options)
        }
        Some(Verb::Bench { options, format, fixed }) => {
            fixed.check()?;
            ranks::refuse("bench")?;
            bench_and_print(&mut load(manifest)?, &options, format)
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>, manifest: &Manifest) -> Result<Cli, clap::Error> {
    let about = format!(
        "Trains the network `{}` (batch {}, {}, {}), compiled by blkc {}",
        manifest.network, manifest.batch, manifest.precision, manifest.optimizer, manifest.compiler
    );
    let command = Cli::command().about(about);
    Cli::from_arg_matches(&command.try_get_matches_from(args)?)
}

fn read_and_train(
    manifest: Manifest,
    load: impl FnOnce(Manifest) -> Result<Program, Error>,
    options: &TrainOptions,
) -> Result<u8, Error> {
    ranks::join()?;
    let prepared =
        Inputs::read(&Outline::from(&manifest), options).and_then(|inputs| Ok((inputs, load(manifest)?)));
    let (inputs, mut program) = ranks::agree(prepared)?;
    train_and_print(&mut program, inputs, options)
}

/// Trains with progress on stderr and results on stdout, told by the first rank, and returns the exit status.
pub fn train_and_print(program: &mut Program, inputs: Inputs, options: &TrainOptions) -> Result<u8, Error> {
    if !ranks::is_first() {
        return Ok(train::train_on(program, inputs, options, &mut Silent)?.exit_code());
    }
    let outcome = train::train_on(program, inputs, options, &mut Terminal::new())?;
    print(&result_lines(&outcome).iter().map(|line| format!("{line}\n")).collect::<String>());
    Ok(outcome.exit_code())
}

/// Predicts into the file that is asked for, or to stdout, and returns the exit status.
pub fn predict_and_print(program: &mut Program, options: &PredictOptions) -> Result<u8, Error> {
    let predictions = predict(program, options)?;
    let note = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
    if predictions.meaning == Meaning::Scores {
        note("note: the loss makes no probabilities of the outputs; they are written as they are");
    }
    match &options.output {
        None => print(&predictions.csv()),
        Some(path) => {
            predictions.write(path)?;
            note(&format!("wrote {}", path.display()));
        }
    }
    Ok(0)
}

fn bench_and_print(program: &mut Program, options: &BenchOptions, format: Format) -> Result<u8, Error> {
    let outcome = bench(program, options, 0.0)?;
    for warning in &outcome.report.warnings {
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    match format {
        Format::Text => print(&outcome.text()),
        Format::Json => print(&(outcome.json()? + "\n")),
    }
    Ok(0)
}

/// A reader that has gone away is no error of ours.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Where a native trainer starts; the linker gives it the name `main`, which a library must not have.
#[cfg(feature = "trainer")]
mod entry {
    use std::ffi::{CStr, OsStr, c_char, c_int};
    use std::os::unix::ffi::OsStrExt;

    use crate::library::{linked, manifest_bytes};

    /// # Safety
    /// Called by the C start-up code.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn blk_main(argc: c_int, argv: *const *const c_char) -> c_int {
        // SAFETY: the start-up code passes `argc` strings.
        let args = (0..argc.max(0) as usize).map(|i| unsafe { CStr::from_ptr(*argv.add(i)) });
        let args = args.map(|arg| OsStr::from_bytes(arg.to_bytes()).to_os_string());
        c_int::from(super::main(args, manifest_bytes(), linked))
    }
}
