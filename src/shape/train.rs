//! The `train` item: optimizer, schedule and settings, with their ranges checked.

use std::ops::RangeInclusive;

use super::elaborator::{Elaborator, Stage};
use super::frame::Frame;
use super::value::{Configured, Value};
use super::{DEFAULT_EPOCHS, limits};
use crate::axes::BATCH;
use crate::ir::{Leaf, NodeId, Settings, Training, Type};
use crate::resolve::hir::{Expr, ItemKind, Setting, SettingValue, Train};
use crate::source::Span;

/// Number formats of training; the first is the default.
const PRECISIONS: [&str; 3] = ["f32", "f32_strict", "bf16"];

/// The one of them for which no code is made yet.
const LATER: &str = PRECISIONS[2];

/// Elaborates the plan of the network that is complete in `elaborator`.
pub fn training(elaborator: &mut Elaborator, train: &Train) -> Option<Training> {
    let before = elaborator.diagnostics.len();
    let settings = elaborator.settings(train);
    let decay_weights = elaborator.decay_weights(train);
    let optimizer = elaborator.optimizer_setting(train);
    let updates = optimizer.as_ref().and_then(|optimizer| elaborator.updates(optimizer, decay_weights));
    let schedule = elaborator.schedule_setting(train);
    let (updates, scale) = updates?;
    if train.broken || elaborator.diagnostics.len() > before {
        return None;
    }
    let optimizer = elaborator.hir.item(optimizer?.item).name.text.clone();
    let hypers = std::mem::take(&mut elaborator.hypers);
    let states = std::mem::take(&mut elaborator.states);
    Some(Training { optimizer, hypers, states, updates, scale, schedule, settings })
}

impl Elaborator<'_> {
    fn settings(&mut self, train: &Train) -> Settings {
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
        }
    }

    fn setting<'t>(&self, train: &'t Train, key: &str) -> Option<(&'t Expr, &'t Setting)> {
        let setting = train.settings.iter().find(|setting| setting.key.text == key)?;
        match &setting.value {
            SettingValue::Expr(expr) => Some((expr, setting)),
            _ => None,
        }
    }

    fn setting_value(&mut self, train: &Train, key: &str) -> Option<(Value, Span)> {
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

    fn precision(&mut self, train: &Train) -> String {
        let word = self.word(train, "precision", &PRECISIONS).unwrap_or_else(|| PRECISIONS[0].into());
        if word == LATER {
            let span =
                self.setting(train, "precision").map_or(train.network.span, |(_, setting)| setting.span);
            let diagnostic = self
                .error("N008", span, format!("`precision = {LATER}` is not supported yet"))
                .help(format!("{} and {} are", PRECISIONS[0], PRECISIONS[1]));
            self.fail(diagnostic);
        }
        word
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

    fn decay_weights(&mut self, train: &Train) -> bool {
        self.word(train, "decay", &["weights", "all"]).is_some_and(|word| word == "weights")
    }

    fn optimizer_setting(&mut self, train: &Train) -> Option<Configured> {
        if !train.settings.iter().any(|setting| setting.key.text == "optimizer") {
            let hir = self.hir;
            let optimizers = hir.items.iter().filter(|item| matches!(item.kind, ItemKind::Optimizer(_)));
            let names: Vec<&str> = optimizers.map(|item| item.name.text.as_str()).collect();
            let diagnostic = self
                .error("T020", train.network.span, "a `train` item needs an optimizer")
                .help(format!("add a line `optimizer = …`; known are {}", names.join(", ")));
            self.fail(diagnostic);
            return None;
        }
        let (value, span) = self.setting_value(train, "optimizer")?;
        self.definition(value, span, "an optimizer", |kind| matches!(kind, ItemKind::Optimizer(_)))
    }

    fn definition(
        &mut self,
        value: Value,
        span: Span,
        noun: &str,
        fits: fn(&ItemKind) -> bool,
    ) -> Option<Configured> {
        let what = match &value {
            Value::Configured(configured) if fits(&self.hir.item(configured.item).kind) => {
                return Some(configured.as_ref().clone());
            }
            Value::Configured(configured) => {
                let item = self.hir.item(configured.item);
                format!("`{}` is of the kind {}", item.name.text, item.noun())
            }
            other => format!("this is {}", other.noun()),
        };
        self.fail_at("T020", span, format!("{noun} is expected here, {what}"));
        None
    }

    fn schedule_setting(&mut self, train: &Train) -> Option<NodeId> {
        let (value, span) = self.setting_value(train, "schedule")?;
        let configured =
            self.definition(value, span, "a schedule", |kind| matches!(kind, ItemKind::Schedule(_)))?;
        let hir = self.hir;
        let item = hir.item(configured.item);
        if item.broken || !self.push_expansion(&item.name.text, configured.span) {
            return None;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Schedule);
        let node = self.schedule(&configured);
        self.stage = stage;
        self.pop_expansion();
        node
    }

    fn schedule(&mut self, configured: &Configured) -> Option<NodeId> {
        let hir = self.hir;
        let item = hir.item(configured.item);
        let ItemKind::Schedule(schedule) = &item.kind else { return None };
        let mut frame = Frame::new(item);
        if !self.bind_config(&mut frame, item, configured) {
            return None;
        }
        for param in &schedule.config {
            if let Some(number) = frame.get(param.local).number() {
                let name = format!("schedule.{}", param.name.text);
                let node = self.hyper(&name, number, param.name.span);
                frame.set(param.local, Value::Tensor(node));
            }
        }
        for ((name, local), leaf) in schedule.inputs.iter().zip([Leaf::Time, Leaf::TotalTime]) {
            let node = self.leaf(leaf, Type::float(vec![]), name.span);
            frame.set(*local, Value::Tensor(node));
        }
        if schedule.inputs.len() > 2 {
            let message =
                format!("schedule `{}` has more inputs than the time and the total", item.name.text);
            self.fail_at("T021", item.name.span, message);
            return None;
        }
        let value = self.run(&mut frame, &schedule.body);
        let node = self.node_of(&value, item.name.span)?;
        self.is_numeric(node, "the multipliers of a schedule", item.name.span).then_some(node)
    }
}
