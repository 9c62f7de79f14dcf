//! The binary as a user meets it: every verb, what it writes where, and how it refuses.

mod build;
mod data;
mod faults;
mod inspect;
mod plot;
mod predict;
mod train;
mod user;
mod verbs;
