//! Back-propagation as a step on the back-matching losses; Case 1 and elementwise activations.

use ndarray::{Array2, Axis};

use crate::algebra::{condition, eigenvalues};
use crate::{At, Matrices, block_diagonal, diagonal, eye, kron, outer, same};

const OWN: &str = "op cubic()(x) = x^3 + x
op soft()(x: [n]) { let e = exp(x - max(x))
    e / sum(e) }
";

const CHAINS: [(&str, &str); 3] = [
    (
        "class[3]",
        "|> block a { dense(5, bias = true) |> tanh } |> block b { dense(4) |> batch_norm |> relu } |> block out { dense(3) } |> cross_entropy",
    ),
    (
        "f32[2]",
        "|> block a { residual(dense(6) |> gelu |> dense(4)) } |> block b { layer_norm(eps = 0.1) } |> block out { dense(2, bias = true) } |> squared_error",
    ),
    (
        "class[3]",
        "|> block a { dense(4) |> cubic } |> block b { dense(5) |> soft } |> block out { dense(3) } |> cross_entropy",
    ),
];

/// A step of gradient descent on each L_b = ½‖t_b − F_b‖², t_b = z_b − g_b, the last on the loss itself: the new
/// parameters are those of training with plain SGD, and the input's step is the target of the block below.
#[test]
fn back_propagation_is_one_gradient_step_on_the_back_matching_losses() {
    for (seed, (target, blocks)) in CHAINS.into_iter().enumerate() {
        let text = format!(
            "{OWN}network net(x: f32[4]) -> {target} {{ x {blocks} }}\ntrain net {{ optimizer = sgd(lr = 0.3) }}\n"
        );
        let at = At::program(&text, 4, seed as u64);
        let (mut point, train) = at.training_point();
        for block in 0..point.blocks.len() {
            let g = point.g(block);
            let flat = g.to_shape((g.len(), 1)).expect("one column").to_owned();
            for param in point.blocks[block].params.clone() {
                // −∂L_b/∂W = Jᵀ(t − F) = −Jᵀg
                let slope = point.jacobian(block, param.value).t().dot(&flat);
                let symbol = point.symbols.params[param.id.index()];
                let write = train.writes.iter().find(|write| write.symbol == symbol).expect("updated");
                let axes = point.graph.symbol_info(symbol).axes.clone();
                let trained = point.entries_along(write.value, &axes);
                let before = point.entries(param.value);
                let descended: Vec<f64> =
                    before.iter().zip(&slope).map(|(w, slope)| w - 0.3 * slope).collect();
                let column = |v: Vec<f64>| Array2::from_shape_vec((v.len(), 1), v).expect("one column");
                same(&column(trained), &column(descended), 1e-12, &param.name);
            }
            if block > 0 {
                let input = point.wrt(block, "z");
                let slope = point.jacobian(block, input).t().dot(&flat);
                let below = point.g(block - 1);
                let below = below.to_shape((below.len(), 1)).expect("one column").to_owned();
                same(&slope, &below, 1e-12, "z − ∂L/∂z is the target below");
            }
        }
    }
}

/// H_z = I ⊗ WᵀW and H_W = I ⊗ Σ xxᵀ; the exact Hessians are no different.
#[test]
fn case_1_dense() {
    for seed in 0..3 {
        let chain = "|> block a { dense(3, bias = true) } |> block out { dense(2) } |> cross_entropy";
        let at = At::new(4, "class[2]", chain, 5, seed);
        let (mut point, w) = (at.point(), at.param("a.dense.W"));
        let x = point.z(0);
        let ones = Array2::ones((5, 1));
        let s = x.t().dot(&x);
        let [z, weight, bias] = ["z", "W", "b"].map(|name| point.wrt(0, name));
        same(&point.newton(0, z), &kron(&eye(5), &w.t().dot(&w)), 1e-12, "H_z");
        same(&point.newton(0, weight), &kron(&eye(3), &s), 1e-12, "H_W");
        let jacobian = point.jacobians(0, &[weight, bias]);
        let joint = point.gauss_newton(0, &jacobian);
        let cross = kron(&eye(3), &x.t().dot(&ones));
        let rest = ndarray::s![..12, 12..];
        same(&joint.slice(rest).to_owned(), &cross, 1e-12, "weights with biases");
        same(&point.newton(0, bias), &(eye(3) * 5.0), 1e-12, "H_b = m I");
        same(&point.residual(0, &[z]), &Array2::zeros((20, 20)), 1e-12, "affine in z");
        same(&point.residual(0, &[weight, bias]), &Array2::zeros((15, 15)), 1e-12, "affine in W and b");
        let values = eigenvalues(&w.t().dot(&w));
        assert!(values[0].abs() < 1e-12 * values[3], "three rows span three of four dimensions: {values:?}");
    }
}

/// The condition number of H_z is that of the Jacobian squared.
#[test]
fn conditioning_of_the_hessian_is_that_of_the_jacobian_squared() {
    for seed in 0..4 {
        let chain = "|> block a { dense(4) |> tanh } |> block out { dense(2) } |> squared_error";
        let at = At::new(4, "f32[2]", chain, 1, seed);
        let mut point = at.point();
        let z = point.wrt(0, "z");
        let (jacobian, hessian) = (point.jacobian(0, z), point.newton(0, z));
        let (c, squared) = (condition(&jacobian), condition(&hessian));
        assert!((squared / (c * c) - 1.0).abs() < 1e-6, "{squared} is not {c}²");
    }
}

type Slopes = fn(f64) -> (f64, f64);

/// H_z,j = Wᵀ diag(f′²) W, exact with f′² + g f″; H_W alike with x xᵀ: the library's activations and one's own.
#[test]
fn dense_with_an_activation() {
    let tanh: Slopes = |a| (1.0 - a.tanh().powi(2), -2.0 * a.tanh() * (1.0 - a.tanh().powi(2)));
    let relu: Slopes = |a| (f64::from(u8::from(a > 0.0)), 0.0);
    let cubic: Slopes = |a| (3.0 * a * a + 1.0, 6.0 * a);
    let gelu: Slopes = |a| {
        let density = (-a * a / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let distribution = 0.5 * (1.0 + libm::erf(a / std::f64::consts::SQRT_2));
        (distribution + a * density, (2.0 - a * a) * density)
    };
    for (name, slopes) in [("tanh", tanh), ("relu", relu), ("cubic", cubic), ("gelu", gelu)] {
        let text = format!(
            "{OWN}network net(x: f32[3]) -> class[2] {{ x |> block a {{ dense(4) |> {name} }} |> block out {{ dense(2) }} |> cross_entropy }}\n"
        );
        let at = At::program(&text, 4, 9);
        let (mut point, w) = (at.point(), at.param("a.dense.W"));
        let (x, g) = (point.z(0), point.g(0));
        let a = x.dot(&w.t());
        let newton = |j: usize| a.row(j).mapv(|a| slopes(a).0.powi(2)).to_vec();
        let exact = |j: usize| {
            let both = a.row(j).into_iter().zip(g.row(j));
            both.map(|(&a, g)| slopes(a).0.powi(2) + g * slopes(a).1).collect::<Vec<f64>>()
        };
        let curvatures: [&dyn Fn(usize) -> Vec<f64>; 2] = [&newton, &exact];
        let [z, weight] = ["z", "W"].map(|name| point.wrt(0, name));
        let found =
            [[point.newton(0, z), point.newton(0, weight)], [point.exact(0, z), point.exact(0, weight)]];
        for (curvature, [by_z, by_w]) in curvatures.into_iter().zip(found) {
            let parts: Vec<Array2<f64>> =
                (0..4).map(|j| w.t().dot(&diagonal(&curvature(j))).dot(&w)).collect();
            same(&by_z, &block_diagonal(&parts), 1e-12, name);
            let sum = (0..4).fold(Array2::zeros((12, 12)), |sum: Array2<f64>, j| {
                let row = x.index_axis(Axis(0), j).to_vec();
                sum + kron(&diagonal(&curvature(j)), &outer(&row, &row))
            });
            same(&by_w, &sum, 1e-12, name);
        }
    }
}
