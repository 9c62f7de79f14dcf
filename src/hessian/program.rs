//! From the IR to the expressions of every routine.
