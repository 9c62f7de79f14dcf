//! `left @ right`: contraction.
//!
//! Summed are the axes, except the batch, that both sides have. Where they share none, the last axis of the left is
//! summed against the last axis of the right if both have the same extent. Everything else is kept; a batch axis that
//! both have is kept too. So `W @ x` with `W: [n, d]` and `x: [batch, d]` is over `[batch, n]`.

use ndarray::ArrayD;

use super::elementwise::{check_numbers, describe};
use super::{Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, reference};
use crate::axes::{Axis, AxisTable, BATCH};
use crate::ir::Type;
use crate::sym::graph::broadcast_axes;
use crate::sym::{Expr, Graph};

pub(super) struct Contract;

/// What is summed: axes of the left side, and the right side's axis that is read under the name of a left one.
struct Pairing {
    over: Vec<Axis>,
    rename: Option<(Axis, Axis)>,
}

fn pairing(axes: &AxisTable, left: &[Axis], right: &[Axis]) -> Option<Pairing> {
    let over: Vec<Axis> =
        left.iter().copied().filter(|axis| *axis != BATCH && right.contains(axis)).collect();
    if !over.is_empty() {
        return Some(Pairing { over, rename: None });
    }
    let (&l, &r) = (left.last()?, right.last()?);
    let fits = l != BATCH && r != BATCH && axes.extent(l) == axes.extent(r);
    fits.then(|| Pairing { over: vec![l], rename: Some((r, l)) })
}

impl Intrinsic for Contract {
    fn name(&self) -> &'static str {
        "contract"
    }

    fn operator(&self) -> Option<&'static str> {
        Some("@")
    }

    fn signature(&self) -> Signature {
        Signature { tensors: &["left", "right"], attrs: &[] }
    }

    fn infer(&self, axes: &mut AxisTable, args: &[Type], _attrs: &Attrs) -> Result<Type, ShapeError> {
        args.iter().try_for_each(|arg| check_numbers("@", arg))?;
        let (left, right) = (&args[0].axes, &args[1].axes);
        let Some(Pairing { over, rename }) = pairing(axes, left, right) else {
            let message =
                format!("`@` finds no axis to sum in {} and {}", describe(axes, left), describe(axes, right));
            let help = "the two sides must share an axis, or their last axes must have the same extent";
            return Err(ShapeError { message, help: Some(help.into()) });
        };
        let right: Vec<Axis> = right.iter().map(|&axis| renamed(rename, axis)).collect();
        let kept = broadcast_axes(&[left, &right]).into_iter().filter(|axis| !over.contains(axis));
        Ok(Type::float(kept.collect()))
    }

    fn express(&self, graph: &mut Graph, args: &[Expr], types: &[Type], _attrs: &Attrs, _out: &Type) -> Expr {
        // `infer` has found the pairing for these types already.
        let Some(pairing) = pairing(&graph.axes, &types[0].axes, &types[1].axes) else { return args[0] };
        let right = match pairing.rename {
            Some(pair) => graph.rename(args[1], &[pair]),
            None => args[1],
        };
        graph.contract(args[0], right, &pairing.over)
    }

    fn reference(&self, axes: &AxisTable, args: &[&Tensor], _attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        let (left, right) = (args[0], args[1]);
        let shared: Vec<Axis> =
            left.axes.iter().copied().filter(|a| right.axes.contains(a) && !out.axes.contains(a)).collect();
        let last = |side: &Tensor| side.axes.last().copied().into_iter().collect();
        let [l, r]: [Vec<Axis>; 2] =
            if shared.is_empty() { [left, right].map(last) } else { [shared.clone(), shared] };
        let [left, right] = [left, right].map(reference::Strided::of);
        let [of_left, of_right] = [left.along(axes, &l), right.along(axes, &r)];
        reference::tabulate(axes, &out.axes, |place| {
            let kept = |summed: &[Axis], axis| if summed.contains(&axis) { 0 } else { place(axis) };
            let (a, b) = (left.at(&|axis| kept(&l, axis)), right.at(&|axis| kept(&r, axis)));
            // Four sums side by side, which need not wait for each other.
            let mut sums = [0.0; 4];
            for (of_left, of_right) in of_left.chunks(sums.len()).zip(of_right.chunks(sums.len())) {
                for (sum, (i, j)) in sums.iter_mut().zip(of_left.iter().zip(of_right)) {
                    *sum += left.entries[a + i] * right.entries[b + j];
                }
            }
            sums.iter().sum()
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let [n, d, e] = [Axis(1), Axis(2), Axis(3)];
        let cases: [(Vec<usize>, Vec<Axis>, Vec<Axis>); 6] = [
            (vec![5, 7, 3, 1], vec![n, d], vec![BATCH, d]),
            (vec![1, 1, 17, 1], vec![n, d], vec![BATCH, d]),
            (vec![4, 3, 5, 5], vec![n, d], vec![BATCH, e]),
            (vec![6, 5, 1, 1], vec![BATCH, n], vec![BATCH, n]),
            (vec![2, 3, 4, 5], vec![BATCH, n, d], vec![e, d, n]),
            (vec![3, 9, 1, 1], vec![n], vec![n]),
        ];
        let problem = |(extents, left, right)| Problem {
            extents,
            args: vec![Type::float(left), Type::float(right)],
            attrs: Attrs::new(),
            range: (-2.0, 2.0),
            points: vec![0.0],
        };
        cases.into_iter().map(problem).collect()
    }
}

fn renamed(pair: Option<(Axis, Axis)>, axis: Axis) -> Axis {
    match pair {
        Some((old, new)) if old == axis => new,
        _ => axis,
    }
}
