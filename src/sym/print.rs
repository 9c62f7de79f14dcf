//! Expressions and operators as formulas.
