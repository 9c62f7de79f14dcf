//! The sheet: which panels there are, where they stand, the legend, the colours.

use std::collections::BTreeSet;

use blk_runtime::metrics::Kind;

use super::panel::{Frame, Panel, class};
use super::read::{Row, Run};
use super::scale::Scale;
use super::series::{Line, Point, Series};
use super::svg::{Anchor, Svg};

/// Colours that can still be told apart.
pub const MOST_RUNS: usize = COLOURS.len();

/// On white, and on black.
const COLOURS: [(&str, &str); 12] = [
    ("#1f6feb", "#6cb0ff"),
    ("#d9590f", "#ff9a57"),
    ("#1a8f4a", "#56d68a"),
    ("#cf2455", "#ff7a96"),
    ("#7a4fe0", "#b79cff"),
    ("#0b8f94", "#4fd3d6"),
    ("#b0820a", "#e9c046"),
    ("#57606a", "#b1bac4"),
    ("#b831b8", "#f08bf0"),
    ("#6b8e12", "#b4d455"),
    ("#3aa0e0", "#8fd4ff"),
    ("#8d5a3b", "#d3a483"),
];

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 28.0;
const GAP: f64 = 30.0;
/// Panels of the whole run, and of single tensors.
const MAIN: Grid = Grid { columns: 3, height: 270.0 };
const FOUR: Grid = Grid { columns: 4, height: 240.0 };
const SMALL: Grid = Grid { columns: 4, height: 190.0 };

struct Grid {
    columns: usize,
    height: f64,
}

/// Draws 1 to [`MOST_RUNS`] runs.
pub fn sheet(runs: &[Run]) -> String {
    let (main, small) = (main_panels(runs), factor_panels(runs));
    let mut svg = Svg::default();
    let mut y = legend(&mut svg, runs, &main);
    let end = runs.iter().flat_map(Run::rows).map(|row| row.epoch).fold(0.0, f64::max);
    let x = Scale::exact(0.0, end);
    y = place(&mut svg, &main, 0, if main.len() == FOUR.columns { &FOUR } else { &MAIN }, y, &x);
    if !small.is_empty() {
        svg.text(MARGIN, y + 8.0, "heading", Anchor::Start, "Scale factors m_W");
        y = place(&mut svg, &small, main.len(), &SMALL, y + 28.0, &x);
    }
    svg.finish(WIDTH, y, &style())
}

/// Stands the panels in rows from `y` down; returns where they end.
fn place(svg: &mut Svg, panels: &[Panel], first: usize, grid: &Grid, y: f64, x: &Scale) -> f64 {
    let columns = grid.columns as f64;
    let width = (WIDTH - 2.0 * MARGIN - (columns - 1.0) * GAP) / columns;
    for (index, panel) in panels.iter().enumerate() {
        let (row, column) = (index / grid.columns, index % grid.columns);
        let frame = Frame {
            x: MARGIN + column as f64 * (width + GAP),
            y: y + row as f64 * (grid.height + 12.0),
            width,
            height: grid.height,
        };
        panel.draw(svg, first + index, frame, x);
    }
    y + panels.len().div_ceil(grid.columns) as f64 * (grid.height + 12.0) + 8.0
}

/// A number of a row.
type Read = fn(&Row) -> Option<f64>;

/// What a panel of the whole run shows.
struct Quantity {
    title: &'static str,
    /// A share, from 0 to 1.
    share: bool,
    /// Rows of steps and of epochs hold the same number, and none is a mean.
    same: bool,
    training: Option<Read>,
    validation: Option<Read>,
    test: Option<Read>,
}

const PLAIN: Quantity =
    Quantity { title: "", share: false, same: false, training: None, validation: None, test: None };

const QUANTITIES: [Quantity; 5] = [
    Quantity {
        title: "Loss",
        training: Some(|row| row.loss),
        validation: Some(|row| row.validation_loss),
        test: Some(|row| row.test_loss),
        ..PLAIN
    },
    Quantity {
        title: "Accuracy",
        share: true,
        training: Some(|row| row.accuracy),
        validation: Some(|row| row.validation_accuracy),
        test: Some(|row| row.test_accuracy),
        ..PLAIN
    },
    Quantity {
        title: "Top-5 accuracy",
        share: true,
        validation: Some(|row| row.validation_top5),
        test: Some(|row| row.test_top5),
        ..PLAIN
    },
    Quantity {
        title: "Root mean square error",
        validation: Some(|row| row.validation_rmse),
        test: Some(|row| row.test_rmse),
        ..PLAIN
    },
    Quantity { title: "Learning rate", same: true, training: Some(|row| row.lr), ..PLAIN },
];

impl Quantity {
    fn panel(&self, runs: &[Run]) -> Panel {
        let (step, epoch) = (Some(Kind::Step), Some(Kind::Epoch));
        let mut series = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            // Shares of a batch jump between few values: they are drawn as long as there is nothing better.
            let epochs = run.rows().filter(|row| row.kind == Kind::Epoch).map(|row| row.step);
            let epochs = epochs.collect::<BTreeSet<_>>().len();
            let training: &[_] = match (self.same, self.share && epochs > 1) {
                (true, _) => &[(Line::Main, None)],
                (_, true) => &[(Line::Main, epoch)],
                _ => &[(Line::Batches, step), (Line::Main, epoch)],
            };
            let mut add = |line, kind, read: Option<Read>| {
                series.extend(read.and_then(|read| series_of(run, index, line, kind, read)));
            };
            training.iter().for_each(|(line, kind)| add(*line, *kind, self.training));
            add(Line::Validation, epoch, self.validation);
            add(Line::Test, epoch, self.test);
        }
        Panel { title: self.title.to_string(), series, share: self.share }
    }
}

fn main_panels(runs: &[Run]) -> Vec<Panel> {
    let panels = QUANTITIES.iter().map(|quantity| quantity.panel(runs));
    panels.filter(|panel| !panel.series.is_empty()).collect()
}

/// What `read` finds in rows of a kind, or in all rows; of repetitions, a mean with its band.
fn series_of(
    run: &Run,
    index: usize,
    line: Line,
    kind: Option<Kind>,
    read: impl Fn(&Row) -> Option<f64>,
) -> Option<Series> {
    let point = |row: &Row| Some(Point { step: row.step, x: row.epoch, y: read(row)? });
    let points = |rows: &Vec<Row>| -> Vec<Point> {
        let rows = rows.iter().filter(|row| kind.is_none_or(|kind| row.kind == kind));
        let mut points: Vec<Point> = rows.filter_map(point).collect();
        // An epoch's row says the same of its last step as this one's own.
        points.dedup_by_key(|point| point.step);
        points
    };
    let members: Vec<_> = run.members.iter().map(points).collect();
    members.iter().any(|points| !points.is_empty()).then(|| Series::of_repetitions(index, line, &members))
}

fn factor_panels(runs: &[Run]) -> Vec<Panel> {
    let rows = runs.iter().flat_map(Run::rows);
    let names = rows.flat_map(|row| &row.blocks).flat_map(|(block, factors)| {
        factors.m_w.keys().map(move |parameter| (natural(parameter), block.clone(), parameter.clone()))
    });
    let names: BTreeSet<_> = names.collect();
    let panel = |(_, block, parameter): (_, String, String)| {
        let read = |row: &Row| {
            let factor = row.blocks.get(&block)?.m_w.get(&parameter)?;
            Some(factor.unwrap_or(f64::NAN))
        };
        let series = runs.iter().enumerate();
        let series =
            series.filter_map(|(index, run)| series_of(run, index, Line::Main, None, read)).collect();
        Panel { title: parameter.clone(), series, share: false }
    };
    names.into_iter().map(panel).collect()
}

/// A key by which `conv[10]` comes after `conv[2]`.
fn natural(name: &str) -> Vec<(bool, u64, String)> {
    let parts = name.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    parts
        .map(|part| {
            let text = String::from_utf8_lossy(part).into_owned();
            match text.parse() {
                Ok(number) => (false, number, String::new()),
                Err(_) => (true, 0, text),
            }
        })
        .collect()
}

/// Names of the runs, and what the kinds of lines mean; returns where the panels begin.
fn legend(svg: &mut Svg, runs: &[Run], panels: &[Panel]) -> f64 {
    let mut pen = Pen { x: MARGIN, y: 34.0 };
    for (index, run) in runs.iter().enumerate() {
        pen.entry(svg, &format!("c{index} main"), "name", &run.name);
    }
    pen = Pen { x: MARGIN, y: pen.y + 24.0 };
    let used: BTreeSet<Line> =
        panels.iter().flat_map(|panel| &panel.series).map(|series| series.line).collect();
    let words = [
        (Line::Main, "training, mean of an epoch"),
        (Line::Batches, "training, single batches"),
        (Line::Validation, "validation"),
        (Line::Test, "test"),
    ];
    for (line, word) in words.into_iter().filter(|(line, _)| used.contains(line)) {
        pen.entry(svg, &format!("ink {}", class(line)), "tick", word);
    }
    pen.y + 30.0
}

/// Where the next entry of a legend goes.
struct Pen {
    x: f64,
    y: f64,
}

impl Pen {
    fn entry(&mut self, svg: &mut Svg, line: &str, class: &str, text: &str) {
        // Letters are about as wide as half of their height; what does not fit goes to the next row.
        let letter = if class == "name" { 7.4 } else { 6.4 };
        let width = 34.0 + letter * text.chars().count() as f64 + 22.0;
        if self.x > MARGIN && self.x + width > WIDTH - MARGIN {
            (self.x, self.y) = (MARGIN, self.y + 22.0);
        }
        svg.line((self.x, self.y - 4.0), (self.x + 26.0, self.y - 4.0), line);
        svg.text(self.x + 34.0, self.y, class, Anchor::Start, text);
        self.x += width;
    }
}

/// The colours follow the reader's preference; a viewer that does not know it draws on white.
fn style() -> String {
    let colours = |of: fn(&(&str, &str)) -> String| -> String {
        let each = COLOURS
            .iter()
            .enumerate()
            .map(|(index, colour)| format!(".c{index}{{stroke:{0}}}.f{index}{{fill:{0}}}\n", of(colour)));
        each.collect()
    };
    let (light, dark) = (colours(|colour| colour.0.into()), colours(|colour| colour.1.into()));
    format!("{STYLE}{light}@media (prefers-color-scheme: dark) {{\n{DARK}{dark}}}\n")
}

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#1f2328}
.paper{fill:#ffffff}
.title{font-size:13px;font-weight:600}
.heading{font-size:15px;font-weight:600}
.name{font-size:13px}
.tick{font-size:11px;fill:#656d76;font-variant-numeric:tabular-nums}
.grid{stroke:#e4e7eb;stroke-width:1}
.axis{stroke:#8c959f;stroke-width:1}
.ink{stroke:#656d76}
path,line{fill:none}
.main{stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.batches{stroke-width:0.9;stroke-opacity:0.35}
.validation{stroke-width:1.8;stroke-dasharray:1 4;stroke-linecap:round}
.test{stroke-width:1.8;stroke-dasharray:6 4}
.band{fill-opacity:0.16}
";
const DARK: &str = "\
text{fill:#e6edf3}
.paper{fill:#0d1117}
.tick{fill:#9198a1}
.grid{stroke:#262c36}
.axis{stroke:#656d76}
.ink{stroke:#9198a1}
";

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["out.W", "conv[10].W", "conv[2].W", "conv[2].V"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["conv[2].V", "conv[2].W", "conv[10].W", "out.W"]);
    }
}
