//! One chart of a sheet.

use super::scale::Scale;
use super::series::{Band, Line, Series, thinned};
use super::svg::{Anchor, Svg};

pub struct Panel {
    pub title: String,
    pub series: Vec<Series>,
    /// The quantity lies between 0 and 1, and what matters is how near it comes to 1.
    pub share: bool,
}

/// A rectangle of the sheet.
#[derive(Clone, Copy)]
pub struct Frame {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// Room for the title, the ticks' labels and the axis' name.
const TOP: f64 = 24.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 32.0;

impl Panel {
    /// Draws the panel into `frame` over the epochs of `x`; `id` is its number on the sheet.
    pub fn draw(&self, svg: &mut Svg, id: usize, frame: Frame, x: &Scale) {
        let plot = Frame {
            x: frame.x + LEFT,
            y: frame.y + TOP,
            width: frame.width - LEFT,
            height: frame.height - TOP - BOTTOM,
        };
        let y = self.scale();
        svg.text(frame.x, frame.y + 12.0, "title", Anchor::Start, &self.title);
        axes(svg, plot, x, &y);
        let clip = (plot.x, plot.y - 1.0, plot.width + 3.0, plot.height + 2.0);
        svg.clipped(id, clip, |svg| {
            let mut order: Vec<&Series> = self.series.iter().collect();
            // Later lines lie above: the first run on top, single batches beneath all.
            order.sort_by_key(|series| (series.line != Line::Batches, std::cmp::Reverse(series.run)));
            order.iter().for_each(|series| draw(svg, series, plot, x, &y));
        });
    }

    /// Around the lines; single batches, which scatter, only count where there is nothing else.
    fn scale(&self) -> Scale {
        let values = |batches: bool| -> Vec<f64> {
            let series = self.series.iter().filter(|series| (series.line == Line::Batches) == batches);
            series.flat_map(Series::values).collect()
        };
        let main = values(false);
        let values = if main.is_empty() { values(true) } else { main };
        if self.share { Scale::share(&values) } else { Scale::around(&values) }
    }
}

fn axes(svg: &mut Svg, plot: Frame, x: &Scale, y: &Scale) {
    let right = plot.x + plot.width;
    for (value, label) in y.ticks() {
        let at = plot.y + plot.height * (1.0 - y.place(value));
        svg.line((plot.x, at), (right, at), "grid");
        svg.text(plot.x - 6.0, at + 3.5, "tick", Anchor::End, &label);
    }
    let floor = plot.y + plot.height;
    svg.line((plot.x, floor), (right, floor), "axis");
    for (value, label) in x.ticks() {
        let at = plot.x + plot.width * x.place(value);
        svg.line((at, floor), (at, floor + 4.0), "axis");
        svg.text(at, floor + 16.0, "tick", Anchor::Middle, &label);
    }
    svg.text(plot.x + plot.width / 2.0, floor + 29.0, "tick", Anchor::Middle, "epoch");
}

fn draw(svg: &mut Svg, series: &Series, plot: Frame, x: &Scale, y: &Scale) {
    let place = |point: &(f64, f64)| {
        (plot.x + plot.width * x.place(point.0), plot.y + plot.height * (1.0 - y.place(point.1)))
    };
    let class = format!("c{} {}", series.run, class(series.line));
    for Band { low, high } in series.bands() {
        let thin = |edge: &[(f64, f64)]| thinned(edge, plot.width as usize);
        let outline: Vec<(f64, f64)> = thin(&low).iter().chain(thin(&high).iter().rev()).map(place).collect();
        svg.path(&outline, &format!("f{} band", series.run));
    }
    for stretch in series.stretches() {
        let points: Vec<(f64, f64)> = thinned(stretch, plot.width as usize).iter().map(place).collect();
        match points.as_slice() {
            [only] => svg.dot(*only, &format!("f{}", series.run)),
            points => svg.path(points, &class),
        }
    }
    let last = series.points.last().filter(|point| point.1.is_finite() && series.line != Line::Batches);
    if let Some(last) = last {
        svg.dot(place(last), &format!("f{}", series.run));
    }
}

pub fn class(line: Line) -> &'static str {
    match line {
        Line::Batches => "batches",
        Line::Main => "main",
        Line::Validation => "validation",
        Line::Test => "test",
    }
}
