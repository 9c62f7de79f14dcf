//! Curves of runs as one SVG sheet of small multiples: what `metrics.jsonl` holds, read and drawn. Knows nothing of
//! networks or programs.

mod panel;
mod read;
mod scale;
mod series;
mod sheet;
mod svg;

pub use read::{Run, read};
pub use sheet::{MOST_RUNS, sheet};
