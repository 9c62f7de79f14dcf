//! Expansion of initializers, and of the loss at the end of the chain.

use super::elaborator::{Elaborator, Stage};
use super::frame::Frame;
use super::value::{Configured, Value};
use crate::axes::Axis;
use crate::resolve::hir::ItemKind;
use crate::source::Span;

impl Elaborator<'_> {
    /// The value of an initializer; random numbers in it range over `axes`.
    pub fn expand_init(&mut self, configured: &Configured, axes: &[Axis], call: Span) -> Value {
        let hir = self.hir;
        let item = hir.item(configured.item);
        let ItemKind::Init(init) = &item.kind else { return Value::Poison };
        if self.stage != Stage::Init {
            let message = format!("`{}` is an initializer and has no value here", item.name.text);
            let diagnostic =
                self.error("T009", call, message).help("initializers stand behind `~` of a `param`");
            return self.fail(diagnostic);
        }
        if !self.push_expansion(&item.name.text, call) {
            return Value::Poison;
        }
        let mut frame = Frame::new(item);
        frame.ambient = axes.to_vec();
        let bound = self.bind_config(&mut frame, item, configured);
        let value = if bound { self.run(&mut frame, &init.body) } else { Value::Poison };
        self.pop_expansion();
        value
    }
}
