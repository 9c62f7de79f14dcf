//! Shows a run to a person: a bar on a terminal, and a line for every epoch that stays; results on stdout, the rest on
//! stderr.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::batch::Evaluation;
use crate::report::{Epoch, Outcome, Reporter, Start, Step};

/// Shows a run on the process's own streams.
#[derive(Default)]
pub struct Terminal {
    bar: Option<ProgressBar>,
    first: u64,
}

/// Takes the bar away, that what comes after a run that failed stands on a line of its own.
impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

const BAR: &str = "{bar:24} {pos}/{len} {msg} ETA {eta}";

impl Terminal {
    pub fn new() -> Self {
        Terminal::default()
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            // Nobody listens: no reason to end a run.
            None => {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }
}

/// Of a rank that is to end and cannot, as the others do not come.
pub(crate) fn tell_of_the_dead(rank: usize) {
    let _ = writeln!(
        std::io::stderr(),
        "warning: rank {rank} was told to end and waits for the others: one of them may have died\n  \
         help: a run with --out goes on from its last save by --resume"
    );
}

impl Reporter for Terminal {
    fn start(&mut self, start: &Start) {
        let part = |samples: Option<usize>, name| samples.map_or(String::new(), |n| format!(" + {n} {name}"));
        let (validation, test) =
            (part(start.validation_samples, "validation"), part(start.test_samples, "test"));
        let threads = crate::error::counted(start.threads, "thread");
        let (threads, ranks) = match start.ranks {
            1 => (threads, String::new()),
            ranks => (format!("{threads} a rank"), format!(" × {ranks} ranks")),
        };
        self.say(&format!(
            "{}: {} parameters, {}, batch {}{ranks}, {} training{validation}{test} samples, {threads}",
            start.network, start.parameters, start.optimizer, start.batch, start.train_samples
        ));
        if start.first_step > 0 {
            self.say(&format!("going on after step {} of {}", start.first_step, start.last_step));
        }
        self.first = start.first_step;
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(start.last_step).with_position(start.first_step);
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar.reset_eta();
            self.bar = Some(bar);
        }
    }

    fn step(&mut self, step: &Step) {
        let Some(bar) = &self.bar else { return };
        bar.set_message(format!(
            "epoch {} {} {:.0} samples/s",
            step.epoch,
            scores(step.loss, step.accuracy),
            step.samples_per_s
        ));
        bar.set_position(step.step);
    }

    fn epoch(&mut self, epoch: &Epoch) {
        let width = epoch.epochs.to_string().len();
        let part = |result: Option<Evaluation>, name| {
            result.map_or(String::new(), |result| format!(" | {name} {}", evaluation(&result)))
        };
        let (validation, test) = (part(epoch.validation, "validation"), part(epoch.test, "test"));
        let rate = epoch.lr.map_or(String::new(), |lr| format!(" | lr {lr:.3e}"));
        self.say(&format!(
            "epoch {:>width$}/{} {}{validation}{test}{rate} | {:.0} samples/s",
            epoch.epoch,
            epoch.epochs,
            scores(epoch.loss, epoch.accuracy),
            epoch.samples_per_s
        ));
    }

    fn warn(&mut self, message: &str) {
        self.say(&format!("warning: {message}"));
    }

    fn end(&mut self, outcome: &Outcome) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if let Some(epochs) = outcome.stopped_early {
            let epochs = crate::error::counted(epochs as usize, "epoch");
            self.say(&format!("stopped early: the validation loss has not fallen for {epochs}"));
        }
        let steps = outcome.steps.saturating_sub(self.first);
        if !outcome.interrupted {
            self.say(&format!(
                "{} in {:.2} s",
                crate::error::counted(steps as usize, "step"),
                outcome.seconds
            ));
            return;
        }
        let cure = match &outcome.run {
            Some(run) => format!("saved; go on with --resume {}", run.display()),
            None => "nothing is saved without --out".to_string(),
        };
        self.say(&format!("interrupted after step {}: {cure}", outcome.steps));
    }
}

fn scores(loss: f64, accuracy: Option<f64>) -> String {
    let accuracy = accuracy.map_or(String::new(), |accuracy| format!(" accuracy {accuracy:.4}"));
    format!("loss {}{accuracy}", number(loss))
}

/// Four decimals, or powers of ten where those would say nothing.
fn number(value: f64) -> String {
    let size = value.abs();
    if (size > 0.0 && size < 1e-3) || size >= 1e6 { format!("{value:.3e}") } else { format!("{value:.4}") }
}

fn evaluation(evaluation: &Evaluation) -> String {
    let named = |name: &str, value: Option<f64>| value.map_or(String::new(), |v| format!(" {name} {v:.4}"));
    let more = named("top-5", evaluation.top5) + &named("rmse", evaluation.rmse);
    scores(evaluation.loss, evaluation.accuracy) + &more
}

/// Lines for stdout; the last is `test accuracy: 0.9xxx` where classes were tested.
pub fn result_lines(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    let sets = [("training", &outcome.train), ("validation", &outcome.validation), ("test", &outcome.test)];
    for (set, evaluation) in sets {
        let Some(evaluation) = evaluation else { continue };
        lines.push(format!("{set} loss: {}", number(evaluation.loss)));
        lines.extend(evaluation.rmse.map(|rmse| format!("{set} rmse: {}", number(rmse))));
        lines.extend(evaluation.top5.map(|top5| format!("{set} top-5 accuracy: {top5:.4}")));
        lines.extend(evaluation.accuracy.map(|accuracy| format!("{set} accuracy: {accuracy:.4}")));
    }
    lines
}
