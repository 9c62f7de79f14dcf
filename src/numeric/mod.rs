//! Numbers at a point: a network's derivatives evaluated in f64 at given weights on a given batch. Beyond the
//! derivation itself nothing here knows a formula; `verify` and `inspect` are its two users.

pub mod batch;
pub mod eigen;
pub mod inspect;
pub mod lanczos;
pub mod local;
pub mod point;
pub mod products;
pub mod spectrum;
pub mod verify;
pub mod weights;
