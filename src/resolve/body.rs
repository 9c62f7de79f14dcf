//! Expressions and statements: each name becomes a local, an item, an intrinsic or a constant.

use super::calls;
use super::hir::{self, Dim, Expr, ExprKind, ItemId, LocalId, Stmt, StmtKind};
use super::scope::Table;
use super::suggest::did_you_mean;
use crate::diag::{Diagnostic, Diagnostics};
use crate::intrinsics;
use crate::ir::ScaleMode;
use crate::source::Span;
use crate::syntax::ast::{self, Name};

/// Resolves the body of one item.
pub struct Body<'a> {
    pub table: &'a Table<'a>,
    pub module: usize,
    pub diagnostics: &'a mut Diagnostics,
    /// Names in sight, innermost last.
    locals: Vec<(String, LocalId)>,
    next: u32,
    /// Items mentioned, with the place.
    pub mentions: Vec<(ItemId, Span)>,
    pub has_blocks: bool,
    pub broken: bool,
}

/// Words that options take instead of values.
fn words() -> impl Iterator<Item = &'static str> {
    let modes = ScaleMode::ALL.into_iter().map(ScaleMode::name);
    modes.chain(["weights", "all", "none", "f32", "f32_strict", "bf16"])
}

/// Comparing names takes time: a file with more mistakes than this gets no further suggestions.
const MOST_SUGGESTIONS: usize = 100;

/// Names of the language itself.
const CONSTANTS: [&str; 3] = ["pi", "training", "batch"];

impl<'a> Body<'a> {
    pub fn new(table: &'a Table<'a>, module: usize, diagnostics: &'a mut Diagnostics) -> Self {
        Body {
            table,
            module,
            diagnostics,
            locals: Vec::new(),
            next: 0,
            mentions: Vec::new(),
            has_blocks: false,
            broken: false,
        }
    }

    pub fn locals(&self) -> u32 {
        self.next
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.broken = true;
        self.diagnostics.push(diagnostic);
    }

    /// A new local; a name that is taken in this item already is an error.
    pub fn declare(&mut self, name: &Name) -> LocalId {
        if self.find_local(&name.text).is_some() {
            self.report(
                Diagnostic::error("N002", name.span, format!("`{}` is already a name here", name.text))
                    .help("every parameter, dimension and local of a definition has its own name"),
            );
        }
        self.push_local(&name.text)
    }

    fn push_local(&mut self, name: &str) -> LocalId {
        let local = LocalId(self.next);
        self.next += 1;
        self.locals.push((name.into(), local));
        local
    }

    fn find_local(&self, name: &str) -> Option<LocalId> {
        self.locals.iter().rev().find(|(known, _)| known == name).map(|(_, local)| *local)
    }

    pub fn params(&mut self, params: &[ast::ConfigParam]) -> Vec<hir::Param> {
        params.iter().map(|param| self.param(param)).collect()
    }

    fn param(&mut self, param: &ast::ConfigParam) -> hir::Param {
        let default = param.default.as_ref().map(|default| self.expr(default));
        let local = self.declare(&param.name);
        hir::Param { name: param.name.clone(), local, ty: param.ty.clone(), default }
    }

    pub fn tensor_param(&mut self, param: &ast::TensorParam) -> hir::TensorParam {
        let ty = param.ty.as_ref().map(|ty| self.tensor_type(ty, true));
        let local = self.declare(&param.name);
        hir::TensorParam { name: param.name.clone(), local, ty }
    }

    /// With `bind`, a name that is not known here yet is a new dimension.
    pub fn tensor_type(&mut self, ty: &ast::TensorType, bind: bool) -> hir::TensorType {
        hir::TensorType { elem: ty.elem, dims: self.dims(&ty.dims, bind), span: ty.span }
    }

    pub fn dims(&mut self, dims: &[ast::Dim], bind: bool) -> Vec<Dim> {
        dims.iter().map(|dim| self.dim(dim, bind)).collect()
    }

    fn dim(&mut self, dim: &ast::Dim, bind: bool) -> Dim {
        let expr = match dim {
            ast::Dim::Rest(_) => return Dim::Rest,
            ast::Dim::Expr(expr) => expr,
        };
        match &expr.kind {
            ast::ExprKind::Name(name) if bind && self.find_local(name).is_none() => {
                let name = Name { text: name.clone(), span: expr.span };
                Dim::Bind { local: self.push_local(&name.text), name }
            }
            ast::ExprKind::Name(name) if self.find_local(name).is_none() => {
                Dim::Known(Expr { span: expr.span, kind: self.unknown_dimension(name, expr.span) })
            }
            _ => Dim::Known(self.expr(expr)),
        }
    }

    /// A name alone is a size only where it is a local: items and intrinsics are no numbers.
    fn unknown_dimension(&mut self, name: &str, span: Span) -> ExprKind {
        let known = self.locals.iter().map(|(name, _)| name);
        let help = did_you_mean(name, known).unwrap_or_else(|| {
            "a size is a number, a configuration parameter or a dimension of a tensor above".into()
        });
        self.report(Diagnostic::error("N001", span, format!("unknown dimension `{name}`")).help(help));
        ExprKind::Error
    }

    pub fn inputs(&mut self, names: &[Name]) -> Vec<(Name, LocalId)> {
        names.iter().map(|name| (name.clone(), self.declare(name))).collect()
    }

    pub fn body(&mut self, body: &ast::Body) -> Vec<Stmt> {
        match body {
            ast::Body::Expr(expr) => vec![Stmt { span: expr.span, kind: StmtKind::Expr(self.expr(expr)) }],
            ast::Body::Block(stmts) => self.stmts(stmts),
        }
    }

    pub fn stmts(&mut self, stmts: &[ast::Stmt]) -> Vec<Stmt> {
        stmts.iter().map(|stmt| Stmt { span: stmt.span, kind: self.stmt(stmt) }).collect()
    }

    fn stmt(&mut self, stmt: &ast::Stmt) -> StmtKind {
        match &stmt.kind {
            ast::StmtKind::Param { name, ty, init, role, condition } => {
                let ty = self.tensor_type(ty, false);
                let init = self.expr(init);
                let condition = condition.as_ref().map(|condition| self.expr(condition));
                let local = self.declare(name);
                StmtKind::Param { name: name.clone(), local, ty, init, role: role.clone(), condition }
            }
            ast::StmtKind::Batch { name, value, momentum, from } => {
                let (value, momentum, from) = (self.expr(value), self.expr(momentum), self.expr(from));
                StmtKind::Batch { name: name.clone(), local: self.declare(name), value, momentum, from }
            }
            ast::StmtKind::Let { name, value } => {
                let value = self.expr(value);
                StmtKind::Let { name: name.clone(), local: self.declare(name), value }
            }
            ast::StmtKind::State { name, like, init } => {
                let like = like.as_ref().and_then(|like| self.local_named(like));
                let init = self.expr(init);
                StmtKind::State { name: name.clone(), local: self.declare(name), like, init }
            }
            ast::StmtKind::Require { condition, message } => {
                StmtKind::Require { condition: self.expr(condition), message: message.clone() }
            }
            ast::StmtKind::Assign { name, value } => {
                let value = self.expr(value);
                let local = self.local_named(name).unwrap_or(LocalId(0));
                StmtKind::Assign { name: name.clone(), local, value }
            }
            ast::StmtKind::Expr(expr) => StmtKind::Expr(self.expr(expr)),
        }
    }

    fn local_named(&mut self, name: &Name) -> Option<LocalId> {
        let found = self.find_local(&name.text);
        if found.is_none() {
            let mut diagnostic =
                Diagnostic::error("N001", name.span, format!("unknown name `{}`", name.text));
            diagnostic.help = did_you_mean(&name.text, self.locals.iter().map(|(name, _)| name));
            self.report(diagnostic);
        }
        found
    }

    pub fn boxed(&mut self, expr: &ast::Expr) -> Box<Expr> {
        Box::new(self.expr(expr))
    }

    pub fn expr(&mut self, expr: &ast::Expr) -> Expr {
        Expr { span: expr.span, kind: self.kind(expr) }
    }

    fn kind(&mut self, expr: &ast::Expr) -> ExprKind {
        match &expr.kind {
            ast::ExprKind::Int(value) => ExprKind::Int(*value),
            ast::ExprKind::Float(value) => ExprKind::Float(*value),
            ast::ExprKind::Bool(value) => ExprKind::Bool(*value),
            ast::ExprKind::Str(value) => ExprKind::Str(value.clone()),
            ast::ExprKind::Name(name) => self.name(name, expr.span),
            ast::ExprKind::Field(base, name) => ExprKind::Field(self.boxed(base), name.clone()),
            ast::ExprKind::Call { callee, args } => self.call(callee, args),
            ast::ExprKind::Index(base, index) => ExprKind::Index(self.boxed(base), self.boxed(index)),
            ast::ExprKind::List(entries) => {
                ExprKind::List(entries.iter().map(|entry| self.entry(entry)).collect())
            }
            ast::ExprKind::Unary(op, arg) => ExprKind::Unary(op, self.boxed(arg)),
            ast::ExprKind::Binary { op, op_span, left, right } => {
                ExprKind::Binary { op, op_span: *op_span, left: self.boxed(left), right: self.boxed(right) }
            }
            ast::ExprKind::If { then, condition, otherwise } => ExprKind::If {
                then: self.boxed(then),
                condition: self.boxed(condition),
                otherwise: self.boxed(otherwise),
            },
            ast::ExprKind::Pipe(left, right) => ExprKind::Pipe(self.boxed(left), self.boxed(right)),
            ast::ExprKind::Block { name, body } => {
                self.has_blocks = true;
                ExprKind::Block { name: name.clone(), body: self.boxed(body) }
            }
            ast::ExprKind::For { variable, list, body } => self.for_loop(variable, list, body),
        }
    }

    fn entry(&mut self, entry: &ast::ListEntry) -> hir::ListEntry {
        match entry {
            ast::ListEntry::Expr(expr) => hir::ListEntry::Expr(self.expr(expr)),
            ast::ListEntry::Rest(span) => hir::ListEntry::Rest(*span),
        }
    }

    fn for_loop(&mut self, variable: &Name, list: &ast::Expr, body: &ast::Expr) -> ExprKind {
        let list = self.boxed(list);
        let outer = self.locals.len();
        let local = self.push_local(&variable.text);
        let body = self.boxed(body);
        self.locals.truncate(outer);
        ExprKind::For { local, list, body }
    }

    fn call(&mut self, callee: &ast::Expr, args: &[ast::Arg]) -> ExprKind {
        let callee = self.boxed(callee);
        let resolve = |this: &mut Self, arg: &ast::Arg| hir::Arg {
            name: arg.name.clone(),
            value: this.expr(&arg.value),
        };
        let args: Vec<hir::Arg> = args.iter().map(|arg| resolve(self, arg)).collect();
        if let ExprKind::Item(id) = callee.kind {
            let entry = &self.table.entries[id.0 as usize];
            if let Some(diagnostic) = calls::check(entry, &args, callee.span) {
                self.report(diagnostic);
                return ExprKind::Error;
            }
        }
        ExprKind::Call { callee, args }
    }

    fn name(&mut self, name: &str, span: Span) -> ExprKind {
        if let Some(local) = self.find_local(name) {
            return ExprKind::Local(local);
        }
        if let Some(item) = self.table.find(self.module, name) {
            self.mentions.push((item, span));
            return ExprKind::Item(item);
        }
        if let Some(intrinsic) = intrinsics::ALL.iter().find(|intrinsic| intrinsic.name() == name) {
            return ExprKind::Intrinsic(intrinsic.name());
        }
        match name {
            "pi" => ExprKind::Float(std::f64::consts::PI),
            "training" => ExprKind::Training,
            "batch" => ExprKind::Batch,
            _ if words().any(|word| word == name) => ExprKind::Word(name.into()),
            _ => self.unknown(name, span),
        }
    }

    fn unknown(&mut self, name: &str, span: Span) -> ExprKind {
        self.broken = true;
        if self.table.is_lost(name) {
            return ExprKind::Error;
        }
        let mut diagnostic = Diagnostic::error("N001", span, format!("unknown name `{name}`"));
        if self.diagnostics.len() < MOST_SUGGESTIONS {
            diagnostic.help = did_you_mean(name, self.candidates());
        }
        self.report(diagnostic);
        ExprKind::Error
    }

    /// Everything that a name could stand for here.
    fn candidates(&self) -> Vec<String> {
        let mut candidates: Vec<String> = self.locals.iter().map(|(name, _)| name.clone()).collect();
        candidates.extend(self.table.visible(self.module).map(String::from));
        candidates.extend(intrinsics::ALL.iter().map(|intrinsic| intrinsic.name().to_string()));
        candidates.extend(CONSTANTS.into_iter().chain(words()).map(String::from));
        candidates
    }
}
