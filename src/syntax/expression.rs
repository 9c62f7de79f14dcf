//! Expressions: precedence, numbers, and the bound on a tree's height.

use std::sync::LazyLock;

use pest::pratt_parser::{Assoc, Op, PrattParser};

use super::MAX_HEIGHT;
use super::ast::*;
use super::build::{Builder, Parts, string_text};
use super::grammar::{Pair, Rule};
use crate::diag::Diagnostic;
use crate::source::Span;

/// From loosest to tightest: `|>`, `or`, `and`, `not`, comparison, `+ -`, `* / @`, unary `-`, `^` (to the right).
static PRECEDENCE: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    let left = |rule| Op::infix(rule, Assoc::Left);
    let equal = left(Rule::eq) | left(Rule::ne);
    let ordered = left(Rule::lt) | left(Rule::gt) | left(Rule::le) | left(Rule::ge);
    PrattParser::new()
        .op(left(Rule::pipe))
        .op(left(Rule::kw_or))
        .op(left(Rule::kw_and))
        .op(Op::prefix(Rule::kw_not))
        .op(equal | ordered)
        .op(left(Rule::add) | left(Rule::sub))
        .op(left(Rule::mul) | left(Rule::div) | left(Rule::matmul))
        .op(Op::prefix(Rule::minus))
        .op(Op::infix(Rule::pow, Assoc::Right))
});

/// An expression and the height of its tree.
struct Tree {
    expr: Expr,
    height: usize,
}

/// The operators as the tree names them.
fn operator(rule: Rule) -> &'static str {
    match rule {
        Rule::kw_or => "or",
        Rule::kw_and => "and",
        Rule::kw_not => "not",
        Rule::eq => "==",
        Rule::ne => "!=",
        Rule::lt => "<",
        Rule::gt => ">",
        Rule::le => "<=",
        Rule::ge => ">=",
        Rule::add => "+",
        Rule::sub | Rule::minus => "-",
        Rule::mul => "*",
        Rule::div => "/",
        Rule::matmul => "@",
        _ => "^",
    }
}

impl Builder {
    pub(super) fn expr(&mut self, pair: Pair) -> Expr {
        self.expr_tree(pair).expr
    }

    /// An expression without a choice at its top.
    pub(super) fn operation(&mut self, pair: Pair) -> Expr {
        self.operation_tree(pair).expr
    }

    pub(super) fn operand(&mut self, pair: Pair) -> Expr {
        self.operand_tree(pair).expr
    }

    fn expr_tree(&mut self, pair: Pair) -> Tree {
        let mut parts = Parts::of(pair);
        let then = self.operation_tree(parts.take());
        let Some(condition) = parts.take_if(Rule::operation) else { return then };
        let condition = self.operation_tree(condition);
        let otherwise = self.expr_tree(parts.take());
        let span = then.expr.span.to(otherwise.expr.span);
        let height = then.height.max(condition.height).max(otherwise.height);
        let [then, condition, otherwise] = [then, condition, otherwise].map(|tree| Box::new(tree.expr));
        self.node(span, height, ExprKind::If { then, condition, otherwise })
    }

    fn operation_tree(&mut self, pair: Pair) -> Tree {
        let origin = self.origin;
        let tree = PRECEDENCE
            .map_primary(|operand| Ok(self.operand_tree(operand)))
            .map_prefix(|mark, operand| unary(origin.span(&mark), operator(mark.as_rule()), operand?))
            .map_infix(|left, mark, right| binary(left?, mark.as_rule(), origin.span(&mark), right?))
            .parse(pair.into_inner());
        tree.unwrap_or_else(|TooHigh(span)| self.too_high(span))
    }

    fn operand_tree(&mut self, pair: Pair) -> Tree {
        let mut parts = Parts::of(pair);
        let mut tree = self.primary(parts.take());
        for suffix in parts.rest() {
            tree = self.suffix(tree, suffix);
        }
        tree
    }

    fn suffix(&mut self, tree: Tree, suffix: Pair) -> Tree {
        let span = tree.expr.span.to(self.span(&suffix));
        let (callee, height) = (Box::new(tree.expr), tree.height);
        match suffix.as_rule() {
            Rule::call => {
                let (args, within) = self.args(suffix);
                self.node(span, height.max(within), ExprKind::Call { callee, args })
            }
            Rule::index => {
                let index = self.expr_tree(Parts::of(suffix).take());
                self.node(span, height.max(index.height), ExprKind::Index(callee, Box::new(index.expr)))
            }
            _ => {
                let field = self.name(Parts::of(suffix).take());
                self.node(span, height, ExprKind::Field(callee, field))
            }
        }
    }

    fn args(&mut self, call: Pair) -> (Vec<Arg>, usize) {
        let mut height = 0;
        let mut args = Vec::new();
        for pair in Parts::of(call).rest() {
            let mut parts = Parts::of(pair);
            let name = parts.take_if(Rule::name).map(|name| self.name(name));
            let value = self.expr_tree(parts.take());
            height = height.max(value.height);
            args.push(Arg { name, value: value.expr });
        }
        self.check_order(&args);
        (args, height)
    }

    fn check_order(&mut self, args: &[Arg]) {
        let first_named = args.iter().position(|arg| arg.name.is_some()).unwrap_or(args.len());
        if let Some(late) = args[first_named..].iter().find(|arg| arg.name.is_none()) {
            let error =
                Diagnostic::error("S011", late.value.span, "an argument without a name after named ones");
            self.diagnostics
                .push(error.at("which parameter is meant?").help("put it before the named ones, or name it"));
        }
    }

    fn primary(&mut self, pair: Pair) -> Tree {
        let span = self.span(&pair);
        match pair.as_rule() {
            Rule::paren => {
                let mut tree = self.expr_tree(Parts::of(pair).take());
                tree.expr.span = span;
                tree
            }
            Rule::list => self.list(pair),
            Rule::block => self.block(pair),
            Rule::for_ => self.for_(pair),
            Rule::number => {
                let kind = self.number(span, pair.as_str());
                leaf(span, kind)
            }
            Rule::boolean => leaf(span, ExprKind::Bool(pair.as_str() == "true")),
            Rule::string => leaf(span, ExprKind::Str(string_text(&pair))),
            _ => leaf(span, ExprKind::Name(pair.as_str().into())),
        }
    }

    fn list(&mut self, pair: Pair) -> Tree {
        let span = self.span(&pair);
        let mut height = 0;
        let mut entries = Vec::new();
        for entry in Parts::of(pair).rest() {
            if entry.as_rule() == Rule::rest {
                entries.push(ListEntry::Rest(self.span(&entry)));
                continue;
            }
            let tree = self.expr_tree(entry);
            height = height.max(tree.height);
            entries.push(ListEntry::Expr(tree.expr));
        }
        self.node(span, height, ExprKind::List(entries))
    }

    fn block(&mut self, pair: Pair) -> Tree {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let name = self.name(parts.take());
        let body = self.expr_tree(parts.take());
        self.node(span, body.height, ExprKind::Block { name, body: Box::new(body.expr) })
    }

    fn for_(&mut self, pair: Pair) -> Tree {
        let span = self.span(&pair);
        let mut parts = Parts::of(pair);
        let variable = self.name(parts.take());
        let list = self.expr_tree(parts.take());
        let body = self.expr_tree(parts.take());
        let height = list.height.max(body.height);
        let (list, body) = (Box::new(list.expr), Box::new(body.expr));
        self.node(span, height, ExprKind::For { variable, list, body })
    }

    fn number(&mut self, span: Span, text: &str) -> ExprKind {
        if text.contains(['.', 'e', 'E']) {
            if let Some(value) = text.parse().ok().filter(|value: &f64| value.is_finite()) {
                return ExprKind::Float(value);
            }
        } else if let Ok(value) = text.parse() {
            return ExprKind::Int(value);
        }
        let shown: String = text.chars().take(40).collect();
        let error = Diagnostic::error("S003", span, format!("the number {shown} is too large"));
        let help = "whole numbers go up to 9223372036854775807, others up to 1.7e308";
        self.diagnostics.push(error.at("too large").help(help));
        ExprKind::Int(0)
    }

    fn node(&mut self, span: Span, height_below: usize, kind: ExprKind) -> Tree {
        Tree::above(span, height_below, kind).unwrap_or_else(|TooHigh(span)| self.too_high(span))
    }

    /// Reports the expression, once in an item, and puts a leaf in its place.
    fn too_high(&mut self, span: Span) -> Tree {
        if self.diagnostics.iter().any(|diagnostic| diagnostic.code == "S021") {
            return leaf(span, ExprKind::Int(0));
        }
        let error = Diagnostic::error(
            "S021",
            span,
            format!("an expression of more than {MAX_HEIGHT} terms in a row"),
        );
        let help = "name parts of it with `let`, `fn` or `op`; repeat blocks with `for`";
        self.diagnostics.push(error.at("too long a chain").help(help));
        leaf(span, ExprKind::Int(0))
    }
}

/// A tree would exceed [`MAX_HEIGHT`] at this place.
struct TooHigh(Span);

impl Tree {
    fn above(span: Span, height_below: usize, kind: ExprKind) -> Result<Tree, TooHigh> {
        let height = height_below + 1;
        if height > MAX_HEIGHT { Err(TooHigh(span)) } else { Ok(Tree { expr: Expr { span, kind }, height }) }
    }
}

fn leaf(span: Span, kind: ExprKind) -> Tree {
    Tree { expr: Expr { span, kind }, height: 1 }
}

fn unary(mark: Span, op: &'static str, operand: Tree) -> Result<Tree, TooHigh> {
    let span = mark.to(operand.expr.span);
    Tree::above(span, operand.height, ExprKind::Unary(op, Box::new(operand.expr)))
}

fn binary(left: Tree, rule: Rule, op_span: Span, right: Tree) -> Result<Tree, TooHigh> {
    let span = left.expr.span.to(right.expr.span);
    let height = left.height.max(right.height);
    let (left, right) = (Box::new(left.expr), Box::new(right.expr));
    let kind = match rule {
        Rule::pipe => ExprKind::Pipe(left, right),
        rule => ExprKind::Binary { op: operator(rule), op_span, left, right },
    };
    Tree::above(span, height, kind)
}
