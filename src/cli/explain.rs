//! `blkc explain FILE`.

use clap::ValueEnum;

use super::common::{FormName, Source};
use super::{Outcome, output};
use crate::hessian::explain;
use crate::hessian::program;
use crate::ir::ScaleMode;

/// Shows per block F_b, the back-matching loss, its local Hessians, and the scale factors with their assumptions
#[derive(clap::Args)]
#[command(after_help = "Example: blkc explain examples/digits.blk --block h1 --wrt W --mode paper --steps")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    /// Only this block (repeatable)
    #[arg(long, value_name = "B")]
    block: Vec<String>,
    /// Only this argument: z, or the name of a parameter (repeatable)
    #[arg(long, value_name = "z|PARAM")]
    wrt: Vec<String>,
    /// Form of the Hessians
    #[arg(long, value_enum, default_value_t = FormName::GaussNewton)]
    form: FormName,
    /// Mode of the scale factors (default: the optimizer's, or measured)
    #[arg(long, value_enum)]
    mode: Option<ModeName>,
    /// Show the rewrite steps by name
    #[arg(long)]
    steps: bool,
    /// How the explanation is written
    #[arg(long, value_enum, default_value_t = Written::Text)]
    format: Written,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Written {
    Text,
    Latex,
    Json,
    Html,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    Paper,
    Analytic,
    Measured,
    Trace,
}

impl From<ModeName> for ScaleMode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Paper => ScaleMode::Paper,
            ModeName::Analytic => ScaleMode::Analytic,
            ModeName::Measured => ScaleMode::Measured,
            ModeName::Trace => ScaleMode::Trace,
        }
    }
}

pub fn run(args: &Args) -> Outcome {
    let (network, sources) = args.source.network_with_sources()?;
    let plan = program::derive(&network);
    let trained_by = network.training.as_ref().and_then(|training| training.scale).map(|scale| scale.mode);
    let options = explain::Options {
        blocks: args.block.clone(),
        wrt: args.wrt.clone(),
        form: args.form.into(),
        mode: args.mode.map(ScaleMode::from).or(trained_by).unwrap_or(ScaleMode::Measured),
        steps: args.steps,
        complete: args.format == Written::Json,
    };
    let explanation = explain::explain(&network, &plan, &sources, &options)?;
    output::result(match args.format {
        Written::Text => explain::text::render(&explanation),
        Written::Latex => explain::latex::render(&explanation),
        Written::Html => explain::html::render(&explanation),
        Written::Json => explain::json::render(&explanation),
    })
}
