//! A whole network: input, chain of blocks, target and loss, then the training plan.

use super::apply::features;
use super::elaborator::{Elaborator, Stage};
use super::frame::Frame;
use super::value::{Configured, Value};
use super::{DEFAULT_BATCH, Job, Options, limits, train};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::diag::{Diagnostics, has_errors};
use crate::ir::{self, Elem, Leaf, NodeId, Type};
use crate::resolve::hir::{
    Dim, ExprKind, Hir, Item, ItemKind, Loss, Network, SettingValue, Target, TensorParam, Train,
};
use crate::source::{Sources, Span};
use crate::syntax::ast::{TargetKind, TensorElem};

/// The chain's end: its output, the target and the loss per sample.
#[derive(Clone, Copy)]
pub struct LossEnd {
    pub output: NodeId,
    pub target: NodeId,
    pub loss: NodeId,
}

/// What the network's header says of its target.
#[derive(Clone, Copy)]
pub struct TargetSpec<'h> {
    target: &'h Target,
    /// Extents of its dimensions, the classes' number first.
    extent: Option<usize>,
}

/// Elaborates one network; `None` where it has errors.
pub fn elaborate(
    hir: &Hir,
    sources: &Sources,
    options: &Options,
    job: Job,
) -> (Option<ir::Network>, Diagnostics) {
    let mut elaborator = Elaborator::new(hir, sources, DEFAULT_BATCH);
    let broken =
        hir.item(job.item).broken || job.train.is_some_and(|train| train.broken && train_is_lost(train));
    if broken {
        return (None, Diagnostics::new());
    }
    let batch = options.batch.or_else(|| job.train.and_then(|train| batch_of(&mut elaborator, train)));
    elaborator.axes = AxisTable::new(batch.unwrap_or(DEFAULT_BATCH));
    let network = elaborator.network(job);
    (network, elaborator.diagnostics)
}

/// The `train` item does not even say which network it trains.
fn train_is_lost(train: &Train) -> bool {
    matches!(train.network.kind, ExprKind::Error)
}

fn batch_of(elaborator: &mut Elaborator, train: &Train) -> Option<usize> {
    let setting = train.settings.iter().find(|setting| setting.key.text == "batch")?;
    let SettingValue::Expr(expr) = &setting.value else { return None };
    let value = elaborator.eval(&mut Frame::default(), expr);
    elaborator.whole_setting("batch", &value, setting.span, 1..=limits::BATCH).map(|batch| batch as usize)
}

impl<'h> Elaborator<'h> {
    fn network(&mut self, job: Job<'h>) -> Option<ir::Network> {
        let hir = self.hir;
        let asked = hir.item(job.item);
        let configured = self.resolve_alias(job)?;
        let item = hir.item(configured.item);
        let ItemKind::Network(network) = &item.kind else { return None };
        if item.broken {
            return None;
        }
        let input = self.chain(item, network, &configured)?;
        let end = self.loss?;
        let training = match job.train {
            Some(train) => Some(train::training(self, train, input)?),
            None => None,
        };
        self.check_chain();
        if has_errors(&self.diagnostics) {
            return None;
        }
        Some(self.finish(asked, item, input, end, training))
    }

    /// The network definition and its configuration behind an item: itself, what an alias says, or the family that a
    /// `train` item configures.
    fn resolve_alias(&mut self, job: Job<'h>) -> Option<Configured> {
        let hir = self.hir;
        let item = hir.item(job.item);
        let value = match (&item.kind, job.train) {
            (ItemKind::Alias(expr), _) => self.eval(&mut Frame::new(item), expr),
            (_, Some(train)) => self.eval(&mut Frame::default(), &train.network),
            _ => {
                return Some(Configured { item: job.item, config: vec![], span: item.name.span });
            }
        };
        match value {
            Value::Configured(configured)
                if matches!(hir.item(configured.item).kind, ItemKind::Network(_)) =>
            {
                Some(configured.as_ref().clone())
            }
            Value::Poison => None,
            other => {
                let noun = other.noun();
                self.fail_at("T009", item.name.span, format!("a network is expected here, this is {noun}"));
                None
            }
        }
    }

    /// Expands the network's body; the input node.
    fn chain(&mut self, item: &'h Item, network: &'h Network, configured: &Configured) -> Option<NodeId> {
        let mut frame = Frame::new(item);
        if !self.bind_config(&mut frame, item, configured) {
            return None;
        }
        let input = self.input(&mut frame, &network.input)?;
        self.head = Some(input);
        frame.set(network.input.local, Value::Tensor(input));
        self.target = Some(self.target_spec(&mut frame, &network.target)?);
        let value = self.eval(&mut frame, &network.body);
        match (value, self.loss) {
            (Value::Poison, _) => return None,
            (Value::Tensor(node), Some(end)) if node == end.loss => {}
            (Value::Tensor(_), Some(_)) => {
                self.fail_at(
                    "T016",
                    network.body.span,
                    "a network ends with its loss; nothing may follow it",
                );
            }
            _ => self.missing_loss(item, network),
        }
        Some(input)
    }

    fn input(&mut self, frame: &mut Frame, param: &'h TensorParam) -> Option<NodeId> {
        let Some(ty) = &param.ty else {
            let diagnostic = self
                .error("T004", param.name.span, format!("the shape of `{}` is not given", param.name.text))
                .help(format!("write it behind the name: `{}: f32[64]`", param.name.text));
            self.fail(diagnostic);
            return None;
        };
        if ty.elem == TensorElem::Class {
            self.fail_at("T004", ty.span, "a network's input is a float tensor: f32[…]");
            return None;
        }
        let mut axes = vec![BATCH];
        let declared = self.declared_axes(frame, &ty.dims, ty.span)?;
        let names = conventional_names(declared.len());
        for (position, (axis, dim)) in declared.into_iter().zip(&ty.dims).enumerate() {
            let literal = matches!(dim, Dim::Known(expr) if !matches!(expr.kind, ExprKind::Local(_)));
            match names.get(position).filter(|_| literal) {
                Some(name) => axes.push(self.axes.fresh(*name, self.axes.extent(axis))),
                None => axes.push(axis),
            }
        }
        let entries = axes.iter().fold(1usize, |size, &axis| size.saturating_mul(self.axes.extent(axis)));
        if entries > limits::TENSOR_ENTRIES {
            let message =
                format!("a batch of {entries} entries, at most {} are possible", limits::TENSOR_ENTRIES);
            self.fail_at("L004", ty.span, message);
            return None;
        }
        let node = self.leaf(Leaf::Input, Type::float(axes), param.name.span);
        self.name_node(&Value::Tensor(node), &param.name.text);
        Some(node)
    }

    fn target_spec(&mut self, frame: &mut Frame, target: &'h Target) -> Option<TargetSpec<'h>> {
        let [Dim::Known(expr)] = target.dims.as_slice() else {
            let diagnostic = self
                .error("T004", target.span, "a target has one dimension of known size")
                .help("`class[10]` for labels 0 to 9, `f32[3]` for three floats");
            self.fail(diagnostic);
            return None;
        };
        let value = self.eval(frame, expr);
        let extent = self.extent_of(&value, expr.span)?;
        Some(TargetSpec { target, extent: Some(extent) })
    }

    fn missing_loss(&mut self, item: &Item, network: &Network) {
        let hir = self.hir;
        let fits =
            |item: &&Item| matches!(&item.kind, ItemKind::Loss(loss) if takes(loss, network.target.kind));
        let names: Vec<String> =
            hir.items.iter().filter(fits).map(|item| format!("`|> {}`", item.name.text)).collect();
        let mut diagnostic = self
            .error(
                "T016",
                network.body.span,
                format!("network `{}` does not end with a loss", item.name.text),
            )
            .at("the pipeline's last step must be a loss");
        if !names.is_empty() {
            diagnostic = diagnostic.help(format!("append {}", names.join(" or ")));
        }
        self.fail(diagnostic);
    }

    // The loss

    /// `… |> loss`: the target's axes are the output's, the loss is expanded, the chain is complete.
    pub fn end_with_loss(&mut self, input: Value, configured: &Configured, span: Span) -> Value {
        let hir = self.hir;
        let item = hir.item(configured.item);
        let ItemKind::Loss(loss) = &item.kind else {
            let message = format!(
                "`|>` leads into an op, `{}` is a definition of another kind: {}",
                item.name.text,
                item.noun()
            );
            return self.fail_at("T009", span, message);
        };
        if item.broken {
            return Value::Poison;
        }
        let (Stage::Chain, None, Some(spec)) = (self.stage, self.loss, self.target) else {
            return self.fail_at(
                "T016",
                span,
                format!("the loss `{}` stands only at the end of a network", item.name.text),
            );
        };
        let output = match input {
            Value::Tensor(output) if Some(output) == self.head && !self.blocks.is_empty() => output,
            other => return self.loss_without_chain(&other, span),
        };
        let Some(target) = self.target_node(output, &spec, span) else { return Value::Poison };
        self.stage = Stage::Loss;
        let value = self.expand_loss(item, loss, configured, (output, target), span);
        self.stage = Stage::Chain;
        match value {
            Value::Tensor(node) => {
                self.loss = Some(LossEnd { output, target, loss: node });
                value
            }
            _ => Value::Poison,
        }
    }

    /// What stands before the loss is not the end of a chain of blocks.
    fn loss_without_chain(&mut self, before: &Value, span: Span) -> Value {
        let (message, help) = match before {
            Value::Tensor(node) if Some(*node) == self.head => {
                ("a network without blocks has nothing to train", "`x |> block out { dense(10) } |> …`")
            }
            Value::Op(_) => (
                "the loss must follow the last block, this pipeline has no input yet",
                "a network is `x |> blocks |> loss`: it begins with its input, and the loss stands outside the blocks",
            ),
            _ => ("the loss must follow the last block", "computations between blocks belong into a block"),
        };
        let diagnostic = self.error("T015", span, message).help(help);
        self.fail(diagnostic)
    }

    fn target_node(&mut self, output: NodeId, spec: &TargetSpec, span: Span) -> Option<NodeId> {
        let axes = features(&self.ty(output).axes);
        let extents: Vec<usize> = axes.iter().map(|&axis| self.axes.extent(axis)).collect();
        let wanted: Vec<usize> = spec.extent.into_iter().collect();
        if extents != wanted {
            self.target_mismatch(output, spec, span);
            return None;
        }
        let ty = match spec.target.kind {
            TargetKind::Class => Type { elem: Elem::Class(axes[0]), axes: vec![BATCH] },
            TargetKind::Float => Type::float(std::iter::once(BATCH).chain(axes).collect::<Vec<Axis>>()),
        };
        Some(self.leaf(Leaf::Target, ty, spec.target.span))
    }

    fn target_mismatch(&mut self, output: NodeId, spec: &TargetSpec, span: Span) {
        let shape = self.shape(&self.ty(output).clone());
        let target = self.sources.text(spec.target.span).to_string();
        let size = spec.extent.unwrap_or(0);
        let message = format!("the last block gives {shape}, the target is {target}");
        let diagnostic = self
            .error("T014", span, message)
            .label(self.place(output), format!("{shape} comes from here"))
            .label(spec.target.span, "the target")
            .help(format!("the last block must give [{size}]"));
        self.fail(diagnostic);
    }

    fn expand_loss(
        &mut self,
        item: &Item,
        loss: &Loss,
        configured: &Configured,
        ends: (NodeId, NodeId),
        span: Span,
    ) -> Value {
        if loss.tensors.len() != 2 {
            let count = loss.tensors.len();
            let message = format!(
                "a loss compares a prediction with a target, `{}` has {count} inputs",
                item.name.text
            );
            let diagnostic = self
                .error("T014", span, message)
                .label(item.name.span, "defined here")
                .help("`loss name(config)(prediction: [k], target: class[k]) = …`");
            return self.fail(diagnostic);
        }
        let wants = if takes(loss, TargetKind::Class) { TargetKind::Class } else { TargetKind::Float };
        let has =
            if super::intrinsic::is_class(self.ty(ends.1)) { TargetKind::Class } else { TargetKind::Float };
        if wants != has {
            let message = match has {
                TargetKind::Class => {
                    format!("`{}` takes floats as target, this network has classes", item.name.text)
                }
                TargetKind::Float => {
                    format!("`{}` takes classes as target, this network has floats", item.name.text)
                }
            };
            let target = self.target.map_or(span, |spec| spec.target.span);
            let mut diagnostic = self.error("T014", span, message).label(target, "the target");
            if let Some(declared) = loss.tensors.get(1).filter(|_| !self.hir.is_library(item.name.span.file))
            {
                diagnostic = diagnostic.label(declared.name.span, "`class[k]` behind it would take classes");
            }
            return self.fail(diagnostic);
        }
        if !self.push_expansion(&item.name.text, configured.span) {
            return Value::Poison;
        }
        let value = self.loss_value(item, loss, configured, ends);
        self.pop_expansion();
        value
    }

    fn loss_value(
        &mut self,
        item: &Item,
        loss: &Loss,
        configured: &Configured,
        ends: (NodeId, NodeId),
    ) -> Value {
        let mut frame = Frame::new(item);
        let inputs = [(Value::Tensor(ends.0), configured.span), (Value::Tensor(ends.1), configured.span)];
        if !self.bind_config(&mut frame, item, configured)
            || !self.bind_tensors(&mut frame, item, &loss.tensors, &inputs, configured.span)
        {
            return Value::Poison;
        }
        let value = self.run(&mut frame, &loss.body);
        let Some(node) = self.node_of(&value, item.name.span) else { return Value::Poison };
        if !self.is_numeric(node, "losses", item.name.span) {
            return Value::Poison;
        }
        if self.ty(node).axes != [BATCH] {
            let shape = self.shape(&self.ty(node).clone());
            let message = format!("a loss gives one number per sample, `{}` gives {shape}", item.name.text);
            return self.fail_at("T014", item.name.span, message);
        }
        Value::Tensor(node)
    }

    // Completion

    /// Every block may read its input, parameters and numbers, and nothing of the blocks before.
    fn check_chain(&mut self) {
        for index in 0..self.blocks.len() {
            let block = self.blocks[index].block.clone();
            let Some(stranger) = ir::verify::outside_reach(&self.nodes, &block) else { continue };
            let place = self.place(stranger);
            let diagnostic = self
                .error(
                    "T015",
                    block.span,
                    format!("block `{}` reads more than the output of the block before it", block.name),
                )
                .label(place, "it reaches back to this")
                .help("a skip over several blocks belongs into one block");
            self.fail(diagnostic);
        }
    }

    fn finish(
        &mut self,
        asked: &Item,
        item: &Item,
        input: NodeId,
        end: LossEnd,
        training: Option<ir::Training>,
    ) -> ir::Network {
        let paths = std::mem::take(&mut self.paths);
        let blocks = std::mem::take(&mut self.blocks);
        let params = std::mem::take(&mut self.params);
        let stats = std::mem::take(&mut self.stats);
        let join = |scope, name: &str| format!("{}.{name}", paths.path(scope));
        ir::Network {
            name: asked.name.text.clone(),
            docs: asked.docs.clone().or_else(|| item.docs.clone()),
            axes: self.axes.clone(),
            nodes: std::mem::take(&mut self.nodes),
            origins: std::mem::take(&mut self.origins),
            input,
            target: end.target,
            blocks: blocks.into_iter().map(|p| ir::Block { name: paths.path(p.scope), ..p.block }).collect(),
            output: end.output,
            loss: end.loss,
            params: params
                .into_iter()
                .map(|p| ir::Param { name: join(p.scope, &p.param.short), ..p.param })
                .collect(),
            stats: stats
                .into_iter()
                .map(|p| ir::Statistic { name: join(p.scope, &p.stat.name), ..p.stat })
                .collect(),
            training,
        }
    }
}

fn takes(loss: &Loss, kind: TargetKind) -> bool {
    let class = loss
        .tensors
        .get(1)
        .and_then(|param| param.ty.as_ref())
        .is_some_and(|ty| ty.elem == TensorElem::Class);
    class == (kind == TargetKind::Class)
}

/// Names for an input's axes that the source gives as bare numbers.
fn conventional_names(rank: usize) -> &'static [&'static str] {
    match rank {
        1 => &["d"],
        2 => &["h", "w"],
        3 => &["c", "h", "w"],
        _ => &[],
    }
}
