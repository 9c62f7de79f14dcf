//! The whole compiler against itself and against independent numbers: one program, read by the references of the
//! intrinsics, by the expressions of the plan, by the loop interpreter, by machine code in this process and by linked
//! object code, gives the same values in all of them.

mod bits;
mod images;
mod machine;
mod optimizers;
mod oracle;
mod own;
mod random;
mod ranks;
mod reference;
mod rounding;
mod steps;
mod traces;
mod trainer;
