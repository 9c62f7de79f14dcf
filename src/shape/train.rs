//! The `train` item: optimizer and schedule.

use super::elaborator::{Elaborator, Stage};
use super::frame::Frame;
use super::value::{Configured, Value};
use blk_runtime::settings::CLIP;

use crate::ir::{Hyper, HyperId, Leaf, NodeId, Training, Type};
use crate::resolve::hir::{ItemKind, Train};
use crate::source::Span;

/// Elaborates the plan of the network that is complete in `elaborator` and takes `input`.
pub fn training(elaborator: &mut Elaborator, train: &Train, input: NodeId) -> Option<Training> {
    let before = elaborator.diagnostics.len();
    let settings = elaborator.settings(train, input);
    let clip = elaborator.clip(train);
    let decay_weights = elaborator.decay_weights(train);
    let optimizer = elaborator.optimizer_setting(train);
    let updates = optimizer.as_ref().and_then(|optimizer| elaborator.updates(optimizer, decay_weights));
    let schedule = elaborator.schedule_setting(train);
    let (updates, scale) = updates?;
    if train.broken || elaborator.diagnostics.len() > before {
        return None;
    }
    let optimizer = elaborator.hir.item(optimizer?.item).name.text.clone();
    let clip = clip.map(|value| elaborator.number_of_training(CLIP, value));
    let hypers = std::mem::take(&mut elaborator.hypers);
    let states = std::mem::take(&mut elaborator.states);
    Some(Training { optimizer, hypers, states, updates, scale, schedule, clip, settings })
}

impl Elaborator<'_> {
    /// A number that may be changed at run time and belongs to no definition.
    fn number_of_training(&mut self, name: &str, value: f64) -> HyperId {
        self.hypers.push(Hyper { name: name.into(), value });
        HyperId(self.hypers.len() as u32 - 1)
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
