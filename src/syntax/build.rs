//! The grammar's pairs of one item, as the tree. The grammar guarantees the parts that are taken here in order.

use super::ast::*;
use super::grammar::{Pair, Rule};
use crate::diag::Diagnostics;
use crate::source::{FileId, Span};

/// Turns pairs into the tree and gathers what the grammar cannot say: numbers and trees that are too large.
pub struct Builder {
    pub(super) origin: Origin,
    pub diagnostics: Diagnostics,
}

/// Where the grammar's text lies.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    file: FileId,
    /// Byte of the file at which the text begins.
    start: usize,
}

impl Origin {
    /// Of a pair, without the blanks that the grammar counts to its end.
    pub fn span(self, pair: &Pair) -> Span {
        let start = self.start + pair.as_span().start();
        Span::new(self.file, start, start + pair.as_str().trim_end().len())
    }
}

/// A string without its quotes.
pub(super) fn string_text(pair: &Pair) -> String {
    pair.as_str().trim_matches('"').into()
}

/// The parts of a pair that mean something: without marks and keywords.
pub(super) struct Parts<'i>(std::iter::Peekable<std::vec::IntoIter<Pair<'i>>>);

impl<'i> Parts<'i> {
    pub fn of(pair: Pair<'i>) -> Self {
        let kept: Vec<_> = pair.into_inner().filter(|part| !is_mark(part.as_rule())).collect();
        Parts(kept.into_iter().peekable())
    }

    /// The next part, which the grammar demands.
    pub fn take(&mut self) -> Pair<'i> {
        self.0.next().expect("the grammar demands this part")
    }

    pub fn take_if(&mut self, rule: Rule) -> Option<Pair<'i>> {
        self.0.next_if(|part| part.as_rule() == rule)
    }

    pub fn rest(self) -> impl Iterator<Item = Pair<'i>> {
        self.0
    }
}

/// Rules that only hold the form together.
fn is_mark(rule: Rule) -> bool {
    use Rule::*;
    let bracket =
        matches!(rule, open_paren | close_paren | open_bracket | close_bracket | open_brace | close_brace);
    let mark = matches!(rule, comma | colon | dot | tilde | arrow | assign | newline | EOI);
    let opens = matches!(rule, kw_use | kw_network | kw_op | kw_fn | kw_loss | kw_optimizer | kw_schedule);
    let opens =
        opens || matches!(rule, kw_init | kw_train | kw_param | kw_batch | kw_let | kw_state | kw_require);
    let joins = matches!(rule, kw_running | kw_from | kw_if | kw_else | kw_for | kw_in | kw_block);
    bracket || mark || opens || joins
}

impl Builder {
    pub fn new(file: FileId, start: usize) -> Self {
        Builder { origin: Origin { file, start }, diagnostics: Vec::new() }
    }

    pub(super) fn span(&self, pair: &Pair) -> Span {
        self.origin.span(pair)
    }

    pub fn item(&mut self, pair: Pair) -> ItemKind {
        let rule = pair.as_rule();
        let mut parts = Parts::of(pair);
        match rule {
            Rule::import => ItemKind::Use(self.import(parts.take())),
            Rule::network => ItemKind::Network(self.network(parts)),
            Rule::op => ItemKind::Op(self.op(parts)),
            Rule::function => ItemKind::Fn(self.function(parts)),
            Rule::loss => ItemKind::Loss(self.loss(parts)),
            Rule::optimizer => ItemKind::Optimizer(self.optimizer(parts)),
            Rule::schedule => ItemKind::Schedule(self.schedule(parts)),
            Rule::init => ItemKind::Init(self.init(parts)),
            rule => {
                debug_assert_eq!(rule, Rule::train);
                ItemKind::Train(self.train(parts))
            }
        }
    }

    pub(super) fn name(&self, pair: Pair) -> Name {
        Name { text: pair.as_str().into(), span: self.span(&pair) }
    }

    fn names(&self, pair: Pair) -> Vec<Name> {
        Parts::of(pair).rest().map(|part| self.name(part)).collect()
    }

    fn import(&self, pair: Pair) -> Use {
        let span = self.span(&pair);
        match pair.as_rule() {
            Rule::string => Use::File { path: string_text(&pair), span },
            _ => Use::Path(self.names(pair)),
        }
    }

    fn network(&mut self, mut parts: Parts) -> Network {
        let name = self.name(parts.take());
        let form = parts.take();
        let is_alias = form.as_rule() == Rule::network_alias;
        let mut parts = Parts::of(form);
        if is_alias {
            return Network::Alias { name, value: self.expr(parts.take()) };
        }
        let family = parts.take_if(Rule::config_params).map(|params| self.config_params(params));
        let input = self.tensor_param(Parts::of(parts.take()).take());
        let target = self.target(parts.take());
        Network::Definition { name, family, input, target, body: self.expr(parts.take()) }
    }

    fn target(&mut self, pair: Pair) -> TargetType {
        let ty = self.tensor_type(pair);
        let kind = match ty.elem {
            TensorElem::Class => TargetKind::Class,
            TensorElem::Float => TargetKind::Float,
        };
        TargetType { kind, dims: ty.dims, span: ty.span }
    }

    fn op(&mut self, mut parts: Parts) -> OpDef {
        OpDef {
            name: self.name(parts.take()),
            config: self.optional_config(&mut parts),
            tensors: parts.take_if(Rule::tensor_params).map(|params| self.tensor_params(params)),
            result: parts.take_if(Rule::tensor_type).map(|ty| self.tensor_type(ty)),
            body: self.body(parts.take()),
        }
    }

    fn function(&mut self, mut parts: Parts) -> FnDef {
        FnDef {
            name: self.name(parts.take()),
            params: self.optional_config(&mut parts),
            body: self.expr(parts.take()),
        }
    }

    fn loss(&mut self, mut parts: Parts) -> LossDef {
        LossDef {
            name: self.name(parts.take()),
            config: self.optional_config(&mut parts),
            tensors: self.tensor_params(parts.take()),
            body: self.body(parts.take()),
        }
    }

    fn optimizer(&mut self, mut parts: Parts) -> OptimizerDef {
        OptimizerDef {
            name: self.name(parts.take()),
            config: self.optional_config(&mut parts),
            inputs: self.names(parts.take()),
            body: self.statements(parts.take()),
        }
    }

    fn schedule(&mut self, mut parts: Parts) -> ScheduleDef {
        ScheduleDef {
            name: self.name(parts.take()),
            config: self.optional_config(&mut parts),
            inputs: self.names(parts.take()),
            body: self.body(parts.take()),
        }
    }

    fn init(&mut self, mut parts: Parts) -> InitDef {
        InitDef {
            name: self.name(parts.take()),
            config: self.optional_config(&mut parts),
            body: self.body(parts.take()),
        }
    }

    fn train(&mut self, mut parts: Parts) -> TrainDef {
        let network = self.operand(parts.take());
        TrainDef { network, settings: parts.rest().map(|pair| self.setting(pair)).collect() }
    }

    fn setting(&mut self, pair: Pair) -> Setting {
        let mut parts = Parts::of(pair);
        Setting { key: self.name(parts.take()), value: self.expr(parts.take()) }
    }

    fn optional_config(&mut self, parts: &mut Parts) -> Vec<ConfigParam> {
        parts.take_if(Rule::config_params).map(|params| self.config_params(params)).unwrap_or_default()
    }

    fn config_params(&mut self, pair: Pair) -> Vec<ConfigParam> {
        Parts::of(pair).rest().map(|param| self.config_param(param)).collect()
    }

    fn config_param(&mut self, pair: Pair) -> ConfigParam {
        let mut parts = Parts::of(pair);
        ConfigParam {
            name: self.name(parts.take()),
            ty: parts.take_if(Rule::config_type).map(config_type),
            default: parts.take_if(Rule::expr).map(|value| self.expr(value)),
        }
    }

    fn tensor_params(&mut self, pair: Pair) -> Vec<TensorParam> {
        Parts::of(pair).rest().map(|param| self.tensor_param(param)).collect()
    }

    fn tensor_param(&mut self, pair: Pair) -> TensorParam {
        let mut parts = Parts::of(pair);
        let name = self.name(parts.take());
        TensorParam { name, ty: parts.take_if(Rule::tensor_type).map(|ty| self.tensor_type(ty)) }
    }

    pub(super) fn tensor_type(&mut self, pair: Pair) -> TensorType {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let elem = match parts.take_if(Rule::element_type) {
            Some(elem) if elem.as_str() == "class" => TensorElem::Class,
            _ => TensorElem::Float,
        };
        let dims = Parts::of(parts.take()).rest().map(|dim| self.dim(dim)).collect();
        TensorType { elem, dims, span }
    }

    fn dim(&mut self, pair: Pair) -> Dim {
        match pair.as_rule() {
            Rule::rest => Dim::Rest(self.span(&pair)),
            _ => Dim::Expr(self.expr(pair)),
        }
    }
}

fn config_type(pair: Pair) -> ConfigType {
    let part = Parts::of(pair).take();
    if part.as_rule() == Rule::config_type {
        return ConfigType::List(Box::new(config_type(part)));
    }
    match part.as_str() {
        "int" => ConfigType::Int,
        "float" => ConfigType::Float,
        "bool" => ConfigType::Bool,
        "str" => ConfigType::Str,
        _ => ConfigType::Op,
    }
}
