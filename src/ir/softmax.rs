//! Whether a network's outputs are the logits of a softmax.

use super::evaluate::{Mode, evaluate};
use super::{Elem, Leaf, Network, Op};
use crate::intrinsics::Tensor;
use ndarray::ArrayD;

/// How often the rows are compared at the most, and how far a sum of that many terms may be off by rounding.
const ROUNDS: usize = 4;
const TOLERANCE: f64 = 1e-9;

/// True when the loss of every class is log Σ exp(z) plus something linear in the outputs z: its gradient is then
/// softmax(z) less what depends on the target alone, so that the loss fits softmax(z) to the targets' frequencies
/// (cross entropy, with smoothed labels or without). Of any other loss, a softmax of the outputs would be no
/// probability. Found by evaluating the loss at pairs of points and half-way between them.
pub fn reads_softmax(network: &Network) -> bool {
    let Elem::Class(axis) = network.node(network.target).ty.elem else { return false };
    let classes = network.axes.extent(axis);
    let (rows, width) = match network.node(network.output).ty.axes.as_slice() {
        [batch, of] => (network.axes.extent(*batch), network.axes.extent(*of)),
        _ => return false,
    };
    let loss = Loss::new(network, rows, width);
    // Every row tries a label: large batches need one round for all of them.
    let rounds = classes.div_ceil(rows).clamp(1, ROUNDS);
    width == classes && (0..rounds).all(|round| loss.is_linear_beside(round, classes).unwrap_or(false))
}

/// The loss per sample as a function of outputs and targets.
struct Loss {
    network: Network,
    rows: usize,
    width: usize,
}

impl Loss {
    fn new(network: &Network, rows: usize, width: usize) -> Self {
        let mut network = network.clone();
        // The outputs become what is given: nothing before them is evaluated.
        let output = &mut network.nodes[network.output.index()];
        (output.op, output.inputs) = (Op::Leaf(Leaf::Input), vec![]);
        Loss { network, rows, width }
    }

    /// loss(z) − log Σ exp(z) is, half-way between two points, half-way between its values.
    fn is_linear_beside(&self, round: usize, classes: usize) -> Result<bool, String> {
        let labels: Vec<f64> =
            (0..self.rows).map(|row| ((row + round * self.rows) % classes) as f64).collect();
        let [a, b] = [2 * round, 2 * round + 1].map(|stream| self.outputs(stream as u64));
        let half: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 0.5 * (a + b)).collect();
        let [a, b, half] = [a, b, half].map(|outputs| self.beside(&outputs, &labels));
        let off = |((a, b), half): ((f64, f64), f64)| (a + b - 2.0 * half).abs() / (1.0 + a.abs() + b.abs());
        Ok(a?.into_iter().zip(b?).zip(half?).map(off).all(|off| off < TOLERANCE))
    }

    /// Numbers from -4 to 4.
    fn outputs(&self, stream: u64) -> Vec<f64> {
        let draw = |place: usize| {
            let draw = crate::sym::random::uniform(stream as u32, &[0, 0, 0], place as u32);
            8.0 * draw - 4.0
        };
        (0..self.rows * self.width).map(draw).collect()
    }

    fn beside(&self, outputs: &[f64], labels: &[f64]) -> Result<Vec<f64>, String> {
        let network = &self.network;
        let leaves = |leaf: Leaf| {
            let (node, entries) = match leaf {
                Leaf::Input => (network.output, outputs),
                Leaf::Target => (network.target, labels),
                _ => return None,
            };
            let axes = network.node(node).ty.axes.clone();
            let shape: Vec<usize> = axes.iter().map(|&axis| network.axes.extent(axis)).collect();
            Some(Tensor { axes, values: ArrayD::from_shape_vec(shape, entries.to_vec()).ok()? })
        };
        let loss = evaluate(network, &leaves, Mode::Training, &[network.loss])?;
        let rows = outputs.chunks_exact(self.width).map(|row| row.iter().map(|z| z.exp()).sum::<f64>().ln());
        Ok(loss[0].values.iter().zip(rows).map(|(loss, log_sum_exp)| loss - log_sum_exp).collect())
    }
}
