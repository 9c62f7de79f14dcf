//! Pure mathematics: tensor expressions over named axes, their derivatives, linear operators, simplification,
//! evaluation and printing. Knows no IR, no span, no diagnostic.

pub mod construct;
pub mod contraction;
pub mod dense;
pub mod differentiate;
pub mod evaluate;
#[cfg(test)]
pub(crate) mod example;
pub mod formula;
pub mod graph;
pub mod letters;
pub mod notation;
pub mod operator;
pub mod print;
pub mod random;
pub mod simplify;
pub mod window;

pub use evaluate::{Tensor, Values, evaluate};
pub use graph::{Expr, Function, Graph, Node, Reduction, Storage, Symbol, SymbolInfo};
pub use window::Window;
