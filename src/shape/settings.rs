//! The settings of a `train` item, with their kinds and ranges checked.

use std::ops::RangeInclusive;

use blk_runtime::data::augment::Augmentation;

use super::elaborator::Elaborator;
use super::frame::Frame;
use super::value::Value;
use super::{DEFAULT_EPOCHS, limits};
use crate::axes::BATCH;
use crate::ir::{NodeId, Precision, Settings};
use crate::resolve::hir::{Expr, Operation, Setting, SettingValue, Train};
use crate::source::Span;
use crate::syntax::ast::Name;

impl Elaborator<'_> {
    /// Everything that the item says beside optimizer and schedule. Values that do not fit are reported.
    pub(super) fn settings(&mut self, train: &Train, input: NodeId) -> Settings {
        let epochs = self.whole(train, "epochs", 1..=limits::EPOCHS);
        let seed = self.whole(train, "seed", 0..=i64::MAX);
        Settings {
            data: train.settings.iter().find_map(|setting| match &setting.value {
                SettingValue::Data(text) => Some(text.clone()),
                _ => None,
            }),
            batch: self.axes.extent(BATCH),
            epochs: epochs.map_or(DEFAULT_EPOCHS, |epochs| epochs as u32),
            seed: seed.unwrap_or(0) as u64,
            precision: self.precision(train),
            normalize: self.normalize(train),
            augment: self.augment(train, input),
            validation: self.validation(train),
            patience: self.patience(train),
            accumulate: self.whole(train, "accumulate", 1..=limits::ACCUMULATE).unwrap_or(1) as u32,
            checkpoint: self.whole(train, "checkpoint", 1..=i64::MAX).map(|steps| steps as u64),
        }
    }

    fn setting<'t>(&self, train: &'t Train, key: &str) -> Option<(&'t Expr, &'t Setting)> {
        let setting = train.settings.iter().find(|setting| setting.key.text == key)?;
        match &setting.value {
            SettingValue::Expr(expr) => Some((expr, setting)),
            _ => None,
        }
    }

    pub(super) fn setting_value(&mut self, train: &Train, key: &str) -> Option<(Value, Span)> {
        let (expr, setting) = self.setting(train, key)?;
        let span = setting.span;
        let value = self.eval(&mut Frame::default(), expr);
        (!value.is_poison()).then_some((value, span))
    }

    fn whole(&mut self, train: &Train, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let (value, span) = self.setting_value(train, key)?;
        self.whole_setting(key, &value, span, range)
    }

    /// A whole number within a range; else a diagnostic.
    pub fn whole_setting(
        &mut self,
        key: &str,
        value: &Value,
        span: Span,
        range: RangeInclusive<i64>,
    ) -> Option<i64> {
        match value {
            Value::Int(number) if range.contains(number) => return Some(*number),
            Value::Int(number) if *range.end() == i64::MAX => {
                self.fail_at(
                    "T020",
                    span,
                    format!("`{key}` must be at least {}, not {number}", range.start()),
                );
            }
            Value::Int(number) => {
                let message =
                    format!("`{key}` must lie between {} and {}, not {number}", range.start(), range.end());
                self.fail_at("T020", span, message);
            }
            Value::Poison => {}
            other => {
                let noun = other.noun();
                self.fail_at("T020", span, format!("`{key}` must be a whole number, this is {noun}"));
            }
        }
        None
    }

    fn word(&mut self, train: &Train, key: &str, words: &[&str]) -> Option<String> {
        let (value, span) = self.setting_value(train, key)?;
        match &value {
            Value::Word(word) | Value::Str(word) if words.contains(&&**word) => Some(word.to_string()),
            _ => {
                self.fail_at("T020", span, format!("`{key}` is one of {}", words.join(", ")));
                None
            }
        }
    }

    fn precision(&mut self, train: &Train) -> Precision {
        let word = self.word(train, "precision", &Precision::NAMES);
        word.and_then(|word| Precision::named(&word)).unwrap_or_default()
    }

    /// `normalize = none` (or false) switches normalization off.
    fn normalize(&mut self, train: &Train) -> bool {
        match self.setting_value(train, "normalize") {
            None => true,
            Some((Value::Bool(value), _)) => value,
            Some((Value::Word(word), _)) if *word == *"none" => false,
            Some((_, span)) => {
                let diagnostic = self.error("T020", span, "`normalize` is true, false or none").help(
                    "by default bytes are normalized per channel with the training set's mean and deviation",
                );
                self.fail(diagnostic);
                true
            }
        }
    }

    pub(super) fn decay_weights(&mut self, train: &Train) -> bool {
        self.word(train, "decay", &["weights", "all"]).is_some_and(|word| word == "weights")
    }

    /// The share of the training set that is held back: between 0 and 1, both left out.
    fn validation(&mut self, train: &Train) -> Option<f64> {
        self.real(train, "validation", "a share of the training set between 0 and 1", |share| {
            0.0 < share && share < 1.0
        })
    }

    /// The bound of the gradient's norm.
    pub(super) fn clip(&mut self, train: &Train) -> Option<f64> {
        self.real(train, "clip", "a norm above 0", |norm| norm > 0.0 && norm.is_finite())
    }

    fn real(&mut self, train: &Train, key: &str, noun: &str, fits: fn(f64) -> bool) -> Option<f64> {
        let (value, span) = self.setting_value(train, key)?;
        let given = match value.number() {
            Some(number) if fits(number) => return Some(number),
            Some(number) => format!("not {number}"),
            None => format!("this is {}", value.noun()),
        };
        self.fail_at("T020", span, format!("`{key}` must be {noun}, {given}"));
        None
    }

    /// Early stopping looks at the validation loss: by the test set it would choose what it is to judge.
    fn patience(&mut self, train: &Train) -> Option<u32> {
        let epochs = self.whole(train, "patience", 1..=limits::EPOCHS)?;
        if !train.settings.iter().any(|setting| setting.key.text == "validation") {
            let span =
                self.setting(train, "patience").map_or(train.network.span, |(_, setting)| setting.span);
            let diagnostic = self
                .error("T020", span, "`patience` needs a validation split")
                .help("add `validation = 0.1`: training ends by the loss on samples that it does not see, and the test set must stay out of such choices");
            self.fail(diagnostic);
        }
        Some(epochs as u32)
    }

    fn augment(&mut self, train: &Train, input: NodeId) -> Vec<Augmentation> {
        let operations = train.settings.iter().find_map(|setting| match &setting.value {
            SettingValue::Augment(operations) => Some(operations.as_slice()),
            _ => None,
        });
        operations
            .unwrap_or_default()
            .iter()
            .filter_map(|operation| self.operation(operation, input))
            .collect()
    }

    fn operation(&mut self, operation: &Operation, input: NodeId) -> Option<Augmentation> {
        let Operation { name, args } = operation;
        let axes = &self.ty(input).axes[1..];
        let &[_, height, width] = axes else {
            let shape = self.axes_shape(axes);
            let message = format!("`{}` changes images [c, h, w]; this network takes {shape}", name.text);
            let diagnostic = self.error("T020", name.span, message).help(
                "declare the input as an image, such as f32[3, 32, 32], and flatten it in the first block",
            );
            self.fail(diagnostic);
            return None;
        };
        let smaller = self.axes.extent(height).min(self.axes.extent(width)) as i64;
        match (Augmentation::takes_pixels(&name.text), args.as_slice()) {
            (true, [pixels]) => {
                let value = self.eval(&mut Frame::default(), pixels);
                let pixels = self.whole_setting(&name.text, &value, pixels.span, 1..=smaller)?;
                Augmentation::named(&name.text, pixels as usize)
            }
            (false, []) => Augmentation::named(&name.text, 0),
            (true, _) => self.misapplied(name, "takes one number of pixels, such as"),
            (false, _) => self.misapplied(name, "takes no arguments:"),
        }
    }

    fn misapplied(&mut self, name: &Name, what: &str) -> Option<Augmentation> {
        let example = if Augmentation::takes_pixels(&name.text) { "(4)" } else { "" };
        self.fail_at("T020", name.span, format!("`{0}` {what} `{0}{example}`", name.text));
        None
    }
}
