//! Linear operators between spaces of tensors with named axes: Jacobians, kept as structure, never as arrays.
