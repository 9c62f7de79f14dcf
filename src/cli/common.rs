//! What the verbs share: the program to read, the machine to compile for, and how findings are shown.

use std::io::IsTerminal;
use std::path::PathBuf;

use blk_runtime::ranks;
use clap::ValueEnum;

use super::{Failure, Outcome, output};
use crate::axes::BATCH;
use crate::codegen::target::Target;
use crate::diag::{self, render};
use crate::driver::{self, Front, FrontOptions};
use crate::hessian::{Form, ranks::Ranks};
use crate::ir::{Network, Precision};
use crate::numeric::batch::Npy;
use crate::source::{DiskLoader, Sources};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// A form of the Hessians as options name it.
#[derive(Clone, Copy, ValueEnum)]
pub enum FormName {
    GaussNewton,
    Exact,
    Paper,
}

impl From<FormName> for Form {
    fn from(name: FormName) -> Form {
        match name {
            FormName::GaussNewton => Form::GaussNewton,
            FormName::Exact => Form::Exact,
            FormName::Paper => Form::Paper,
        }
    }
}

/// The program that a verb works on.
#[derive(clap::Args)]
pub struct Source {
    /// The .blk program
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Which network, where the file holds several
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// Samples per step, in place of the file's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub batch: Option<u64>,
    /// Number format of the computation
    #[arg(long, value_name = "P", value_parser = Precision::NAMES)]
    pub precision: Option<String>,
}

impl Source {
    /// Reads and checks the program; prints what was found.
    pub fn front(&self) -> Result<Front, Failure> {
        self.front_with(Format::Text)
    }

    pub fn front_with(&self, format: Format) -> Result<Front, Failure> {
        let front = self.read(self.batch.map(|batch| batch as usize));
        show(&front, format)?;
        checked(front)
    }

    fn read(&self, batch: Option<usize>) -> Front {
        let options = FrontOptions { batch, network: self.network.clone() };
        let mut front = driver::front(&self.file, &DiskLoader, &options);
        front.networks.iter_mut().for_each(|network| self.adjust(network));
        front
    }

    /// The one network that is meant.
    pub fn network(&self) -> Result<Network, Failure> {
        self.network_with_sources().map(|(network, _)| network)
    }

    /// The like, with the texts that it was made from.
    pub fn network_with_sources(&self) -> Result<(Network, Sources), Failure> {
        self.chosen(self.front()?)
    }

    /// As [`Source::network`], with the batches of `ranks` as one.
    pub fn network_of_ranks(&self, ranks: usize) -> Result<Network, Failure> {
        let own = self.network()?.axes.extent(BATCH);
        let whole = own.checked_mul(ranks).ok_or_else(|| format!("{ranks} batches of {own} are too many"))?;
        let front = self.read(Some(whole));
        // Warnings have been shown.
        if diag::has_errors(&front.diagnostics) {
            show(&front, Format::Text)?;
        }
        self.chosen(checked(front)?).map(|(network, _)| network)
    }

    fn chosen(&self, front: Front) -> Result<(Network, Sources), Failure> {
        let Front { mut networks, sources, .. } = front;
        let names: Vec<String> = networks.iter().map(|network| network.name.clone()).collect();
        match networks.len() {
            1 => Ok((networks.remove(0), sources)),
            0 => Err(Failure::Error {
                message: format!("{} holds no network that can be compiled as it stands", self.file),
                help: Some("a family of networks needs its arguments: network name = family(…)".into()),
            }),
            _ => Err(Failure::Error {
                message: format!("{} holds several networks: {}", self.file, names.join(", ")),
                help: Some(format!("choose one, for example --network {}", names[0])),
            }),
        }
    }

    /// What the command line says in place of the file's `train` item.
    fn adjust(&self, network: &mut Network) {
        let precision = self.precision.as_deref().and_then(Precision::named);
        if let (Some(training), Some(precision)) = (&mut network.training, precision) {
            training.settings.precision = precision;
        }
    }
}

fn checked(front: Front) -> Result<Front, Failure> {
    if diag::has_errors(&front.diagnostics) { Err(Failure::Reported) } else { Ok(front) }
}

fn show(front: &Front, format: Format) -> Outcome {
    // Ranks that train together all read the same.
    if !ranks::is_first() {
        return Ok(());
    }
    if format == Format::Json {
        return output::result(format_args!("{}\n", render::to_json(&front.diagnostics, &front.sources)));
    }
    if !front.diagnostics.is_empty() {
        output::note(
            render::render(&front.diagnostics, &front.sources, terminal_style()).trim_end_matches('\n'),
        );
    }
    Ok(())
}

fn terminal_style() -> render::Style {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    render::Style { color, width: 100 }
}

/// Whether this compiler and the trainers that it builds can talk to other ranks.
pub const MPI: bool = cfg!(feature = "mpi");

/// What is compiled by such a compiler takes its steps alone or with others: the same code, so that bits are the same.
pub const SHARED: Ranks = if MPI { Ranks::Averaging } else { Ranks::Alone };

/// How a step is shared under mpirun.
#[derive(clap::Args)]
pub struct Sharing {
    /// Under mpirun: take batch statistics over the batches of all ranks, as one process with all of them would
    #[arg(long)]
    pub sync_statistics: bool,
}

impl Sharing {
    /// The network to compile for `ranks`, and how they share its steps.
    pub fn network(&self, source: &Source, ranks: usize) -> Result<(Network, Ranks), Failure> {
        if self.sync_statistics && ranks > 1 {
            return Ok((source.network_of_ranks(ranks)?, Ranks::Synchronized(ranks)));
        }
        Ok((source.network()?, SHARED))
    }
}

/// Goes on when all ranks can.
pub fn agree<T>(result: Result<T, Failure>) -> Result<T, Failure> {
    let succeeded = result.as_ref().map(|_| ()).map_err(|_| blk_runtime::Error::new(""));
    let agreed = ranks::agree(succeeded);
    if matches!(result, Err(Failure::Reported)) && !ranks::is_first() && !ranks::is_told_elsewhere() {
        let rank = ranks::rank();
        output::note(format_args!(
            "error: the program is at fault on rank {rank}, but not on rank 0: do both read the same file?"
        ));
    }
    let value = result?;
    agreed.map(|()| value).map_err(Failure::from)
}

/// Samples and targets as files of arrays, in place of a data set.
#[derive(clap::Args)]
pub struct Arrays {
    /// Samples as a NumPy array, one per row
    #[arg(long, value_name = "X.npy", requires = "target")]
    input: Option<PathBuf>,
    /// Their targets: labels, or values
    #[arg(long, value_name = "Y.npy", requires = "input")]
    target: Option<PathBuf>,
}

/// What the arrays hold, samples then targets, where they are given.
pub struct Samples(pub Option<(Npy, Npy)>);

impl Arrays {
    pub fn read(&self) -> Result<Samples, String> {
        let (Some(input), Some(target)) = (&self.input, &self.target) else { return Ok(Samples(None)) };
        Ok(Samples(Some((Npy::read(input)?, Npy::read(target)?))))
    }
}

impl Samples {
    /// The batch to read a program for: as many samples as there are, else as many as are asked for.
    pub fn batch(&self, asked: Option<u64>) -> Result<Option<u64>, Failure> {
        let rows = self.0.as_ref().map(|(input, _)| input.rows()).transpose()?.map(|rows| rows as u64);
        match (rows, asked) {
            (Some(rows), Some(batch)) if rows != batch => {
                let message = format!("--batch {batch} does not go with --input, which has {rows} samples");
                Err(Failure::Usage(message))
            }
            _ => Ok(rows.or(asked)),
        }
    }
}

/// The machine to compile for.
#[derive(clap::Args)]
pub struct Machine {
    /// native; portable, which chooses its code when it starts; x86-64, x86-64-v2, x86-64-v3, x86-64-v4; sapphirerapids;
    /// aarch64
    #[arg(long, value_name = "CPU", default_value = "native")]
    pub target_cpu: String,
    /// Features to add or remove, such as -avx512f,+fma
    #[arg(long, value_name = "±F,…", allow_hyphen_values = true)]
    pub target_features: Option<String>,
}

impl Machine {
    /// What an executable carries code for.
    pub fn targets(&self) -> Result<Vec<Target>, Failure> {
        Target::paths(Some(&self.target_cpu), self.target_features.as_deref()).map_err(Failure::Usage)
    }

    /// What code in this process is made for.
    pub fn target(&self) -> Result<Target, Failure> {
        Target::choose(Some(&self.target_cpu), self.target_features.as_deref()).map_err(Failure::Usage)
    }
}
