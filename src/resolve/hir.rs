//! The resolved program: the syntax tree's items with every name replaced by what it stands for.

use crate::source::{FileId, Span};
use crate::syntax::ast::{ConfigType, Name, TargetKind, TensorElem};

/// An item of any file of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ItemId(pub u32);

/// A local of one item: parameters, dimension names, statements' names, loop variables; an index into its frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LocalId(pub u32);

/// All files of a program, names looked up.
#[derive(Debug, Default)]
pub struct Hir {
    pub items: Vec<Item>,
    /// Training plans of the file that was asked for.
    pub trains: Vec<Train>,
    /// The file that was asked for.
    pub root: Option<FileId>,
    /// Files of the embedded standard library; diagnostics point at their callers first.
    pub library: Vec<FileId>,
}

impl Hir {
    pub fn item(&self, id: ItemId) -> &Item {
        &self.items[id.0 as usize]
    }

    pub fn is_library(&self, file: FileId) -> bool {
        self.library.contains(&file)
    }
}

#[derive(Debug)]
pub struct Item {
    pub name: Name,
    pub docs: Option<String>,
    pub span: Span,
    pub kind: ItemKind,
    /// Size of a frame.
    pub locals: u32,
    /// Something in it could not be resolved (and was reported): whoever uses it stays silent.
    pub broken: bool,
    /// Items that it mentions, and where.
    pub mentions: Vec<(ItemId, Span)>,
}

impl Item {
    /// The configuration that a call may give; a network's family parameters.
    pub fn config(&self) -> &[Param] {
        match &self.kind {
            ItemKind::Network(network) => network.family.as_deref().unwrap_or(&[]),
            ItemKind::Alias(_) => &[],
            ItemKind::Op(op) => &op.config,
            ItemKind::Fn(function) => &function.params,
            ItemKind::Loss(loss) => &loss.config,
            ItemKind::Optimizer(optimizer) => &optimizer.config,
            ItemKind::Schedule(schedule) => &schedule.config,
            ItemKind::Init(init) => &init.config,
        }
    }

    /// What to call it in a message.
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            ItemKind::Network(_) | ItemKind::Alias(_) => "network",
            ItemKind::Op(_) => "op",
            ItemKind::Fn(_) => "fn",
            ItemKind::Loss(_) => "loss",
            ItemKind::Optimizer(_) => "optimizer",
            ItemKind::Schedule(_) => "schedule",
            ItemKind::Init(_) => "init",
        }
    }
}

#[derive(Debug)]
pub enum ItemKind {
    Network(Network),
    /// `network NAME = expression`
    Alias(Expr),
    Op(Op),
    Fn(Function),
    Loss(Loss),
    Optimizer(Optimizer),
    Schedule(Schedule),
    Init(Init),
}

#[derive(Debug)]
pub struct Network {
    /// Parameters where it is a family.
    pub family: Option<Vec<Param>>,
    pub input: TensorParam,
    pub target: Target,
    pub body: Expr,
}

#[derive(Debug)]
pub struct Target {
    pub kind: TargetKind,
    pub dims: Vec<Dim>,
    pub span: Span,
}

/// A compile-time parameter, or a parameter of a `fn`.
#[derive(Debug)]
pub struct Param {
    pub name: Name,
    pub local: LocalId,
    pub ty: Option<ConfigType>,
    /// May read the parameters before it.
    pub default: Option<Expr>,
}

#[derive(Debug)]
pub struct TensorParam {
    pub name: Name,
    pub local: LocalId,
    pub ty: Option<TensorType>,
}

#[derive(Debug)]
pub struct TensorType {
    pub elem: TensorElem,
    pub dims: Vec<Dim>,
    pub span: Span,
}

#[derive(Debug)]
pub enum Dim {
    /// The first mention of a dimension name: it takes the axis that stands there.
    Bind {
        local: LocalId,
        name: Name,
    },
    /// A name known before, a number, or arithmetic.
    Known(Expr),
    Rest,
}

#[derive(Debug)]
pub struct Op {
    pub config: Vec<Param>,
    /// `None`: a pipeline given a name.
    pub tensors: Option<Vec<TensorParam>>,
    pub result: Option<TensorType>,
    pub body: Vec<Stmt>,
    /// It opens blocks itself, so that it may not stand inside one.
    pub has_blocks: bool,
}

#[derive(Debug)]
pub struct Function {
    /// Those without a default are arguments, the others configuration.
    pub params: Vec<Param>,
    pub body: Expr,
}

#[derive(Debug)]
pub struct Loss {
    pub config: Vec<Param>,
    pub tensors: Vec<TensorParam>,
    pub body: Vec<Stmt>,
}

#[derive(Debug)]
pub struct Optimizer {
    pub config: Vec<Param>,
    pub inputs: Vec<(Name, LocalId)>,
    pub body: Vec<Stmt>,
}

#[derive(Debug)]
pub struct Schedule {
    pub config: Vec<Param>,
    pub inputs: Vec<(Name, LocalId)>,
    pub body: Vec<Stmt>,
}

#[derive(Debug)]
pub struct Init {
    pub config: Vec<Param>,
    pub body: Vec<Stmt>,
}

#[derive(Debug)]
pub struct Train {
    pub span: Span,
    pub network: Expr,
    pub settings: Vec<Setting>,
    /// Something in it could not be resolved (and was reported).
    pub broken: bool,
}

#[derive(Debug)]
pub struct Setting {
    pub key: Name,
    pub span: Span,
    pub value: SettingValue,
}

/// Data sets and operations on images are named by words or calls of their own; all other settings are expressions.
#[derive(Debug)]
pub enum SettingValue {
    Data(String),
    /// Operations on training images, one after the other.
    Augment(Vec<Operation>),
    Expr(Expr),
    /// A setting or value that was reported; it is not looked at.
    Skipped,
}

/// `pad_crop(4)`: a known name with its arguments.
#[derive(Debug)]
pub struct Operation {
    pub name: Name,
    pub args: Vec<Expr>,
}

#[derive(Debug)]
pub struct Stmt {
    pub span: Span,
    pub kind: StmtKind,
}

#[derive(Debug)]
pub enum StmtKind {
    Param {
        name: Name,
        local: LocalId,
        ty: TensorType,
        init: Expr,
        role: Option<Name>,
        condition: Option<Expr>,
    },
    Batch {
        name: Name,
        local: LocalId,
        value: Expr,
        momentum: Expr,
        from: Expr,
    },
    Let {
        name: Name,
        local: LocalId,
        value: Expr,
    },
    State {
        name: Name,
        local: LocalId,
        like: Option<LocalId>,
        init: Expr,
    },
    Require {
        condition: Expr,
        message: String,
    },
    Assign {
        name: Name,
        local: LocalId,
        value: Expr,
    },
    Expr(Expr),
}

#[derive(Debug)]
pub struct Expr {
    pub span: Span,
    pub kind: ExprKind,
}

#[derive(Debug)]
pub enum ExprKind {
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(String),
    Local(LocalId),
    Item(ItemId),
    /// A tensor function of the compiler; which one, where several share the name, the arguments say.
    Intrinsic(&'static str),
    /// The batch axis.
    Batch,
    /// True in training, false in evaluation.
    Training,
    /// A word that an option takes (`measured`, `none`), not a name.
    Word(String),
    Field(Box<Expr>, Name),
    Call {
        callee: Box<Expr>,
        args: Vec<Arg>,
    },
    Index(Box<Expr>, Box<Expr>),
    List(Vec<ListEntry>),
    Unary(&'static str, Box<Expr>),
    Binary {
        op: &'static str,
        op_span: Span,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    If {
        then: Box<Expr>,
        condition: Box<Expr>,
        otherwise: Box<Expr>,
    },
    Pipe(Box<Expr>, Box<Expr>),
    Block {
        name: Name,
        body: Box<Expr>,
    },
    For {
        local: LocalId,
        list: Box<Expr>,
        body: Box<Expr>,
    },
    /// What could not be resolved; reported already.
    Error,
}

#[derive(Debug)]
pub struct Arg {
    pub name: Option<Name>,
    pub value: Expr,
}

#[derive(Debug)]
pub enum ListEntry {
    Expr(Expr),
    Rest(Span),
}
