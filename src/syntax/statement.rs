//! Bodies and their statements.

use super::ast::*;
use super::build::{Builder, Parts, string_text};
use super::grammar::{Pair, Rule};
use crate::diag::Diagnostic;

impl Builder {
    pub(super) fn body(&mut self, pair: Pair) -> Body {
        let part = Parts::of(pair).take();
        match part.as_rule() {
            Rule::expr => Body::Expr(self.expr(part)),
            _ => Body::Block(self.valued_statements(part)),
        }
    }

    pub(super) fn statements(&mut self, pair: Pair) -> Vec<Stmt> {
        Parts::of(pair).rest().map(|statement| self.statement(statement)).collect()
    }

    /// The statements of a body that stands for a value: its last line, and no other, is an expression.
    fn valued_statements(&mut self, pair: Pair) -> Vec<Stmt> {
        let statements = self.statements(pair);
        let Some((last, before)) = statements.split_last() else { return statements };
        for statement in before.iter().filter(|statement| matches!(statement.kind, StmtKind::Expr(_))) {
            let error =
                Diagnostic::error("S010", statement.span, "only the last line of a body is its value");
            let error = error.at("this value is not used");
            self.diagnostics.push(error.help("name it with `let`, or remove the line"));
        }
        if !matches!(last.kind, StmtKind::Expr(_)) {
            let error = Diagnostic::error("S009", last.span, "the body has no value");
            let help = "end the body with the expression that it computes (a line that begins with `- ` belongs to the one before)";
            self.diagnostics.push(error.at("the last line must be an expression").help(help));
        }
        statements
    }

    fn statement(&mut self, pair: Pair) -> Stmt {
        let span = self.span(&pair);
        let inner = Parts::of(pair).take();
        let rule = inner.as_rule();
        let kind = match rule {
            Rule::param => self.param(Parts::of(inner)),
            Rule::batch => self.batch(Parts::of(inner)),
            Rule::let_ => self.let_(Parts::of(inner)),
            Rule::state => self.state(Parts::of(inner)),
            Rule::require => self.require(Parts::of(inner)),
            Rule::assignment => self.assignment(Parts::of(inner)),
            _ => StmtKind::Expr(self.expr(inner)),
        };
        Stmt { span, kind }
    }

    fn param(&mut self, mut parts: Parts) -> StmtKind {
        let name = self.name(parts.take());
        let ty = self.tensor_type(parts.take());
        let init = self.operation(parts.take());
        let role = parts.take_if(Rule::kw_as).map(|_| self.name(parts.take()));
        let condition = parts.take_if(Rule::expr).map(|condition| self.expr(condition));
        StmtKind::Param { name, ty, init, role, condition }
    }

    fn batch(&mut self, mut parts: Parts) -> StmtKind {
        StmtKind::Batch {
            name: self.name(parts.take()),
            value: self.expr(parts.take()),
            momentum: self.expr(parts.take()),
            from: self.expr(parts.take()),
        }
    }

    fn let_(&mut self, mut parts: Parts) -> StmtKind {
        StmtKind::Let { name: self.name(parts.take()), value: self.expr(parts.take()) }
    }

    fn state(&mut self, mut parts: Parts) -> StmtKind {
        let name = self.name(parts.take());
        let like = parts.take_if(Rule::kw_like).map(|_| self.name(parts.take()));
        StmtKind::State { name, like, init: self.expr(parts.take()) }
    }

    fn require(&mut self, mut parts: Parts) -> StmtKind {
        StmtKind::Require { condition: self.expr(parts.take()), message: string_text(&parts.take()) }
    }

    fn assignment(&mut self, mut parts: Parts) -> StmtKind {
        StmtKind::Assign { name: self.name(parts.take()), value: self.expr(parts.take()) }
    }
}
