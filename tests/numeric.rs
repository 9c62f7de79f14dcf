//! Numbers at a point: operators against Jacobian–vector products, residuals against differences of gradients.

use std::path::Path;

use blkc::driver::{FrontOptions, front};
use blkc::hessian::program::derive;
use blkc::ir::Network;
use blkc::numeric::batch::{Batch, Targets};
use blkc::numeric::point::{Point, initial_parameters};
use blkc::source::DiskLoader;
use blkc::sym::dense;
use ndarray::Array2;

fn networks() -> Vec<Network> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "blk"));
    paths.sort();
    assert!(paths.len() >= 20, "the fixtures are there");
    let options = FrontOptions { batch: Some(4), network: None };
    let read = |path: &std::path::PathBuf| {
        let mut front = front(path.to_str().unwrap(), &DiskLoader, &options);
        assert!(!front.networks.is_empty(), "{path:?}: {:?}", front.diagnostics);
        front.networks.remove(0)
    };
    paths.iter().map(read).collect()
}

fn point(network: &Network) -> Point {
    let plan = derive(network);
    let parameters = initial_parameters(&plan, 3);
    let batch = Batch::of_data(network, "synthetic").unwrap();
    assert!(matches!(&batch.targets, Targets::Class(_) | Targets::Float(_)));
    Point::new(network, plan, &parameters, 3, &batch)
}

fn largest(matrix: &Array2<f64>) -> f64 {
    matrix.iter().fold(0.0, |largest, entry| largest.max(entry.abs()))
}

#[test]
fn operators_agree_with_jacobian_vector_products() {
    for network in networks() {
        let mut point = point(&network);
        for block in 0..point.blocks.len() {
            let output = point.blocks[block].output;
            let wrt = [vec![point.blocks[block].input], point.parameters_of(block)].concat();
            for expr in wrt {
                let derived = point.jacobian(block, expr);
                let products = dense::jacobian_matrix(&mut point.graph, &mut point.values, output, expr);
                let error = largest(&(&derived - &products)) / largest(&products).max(1e-300);
                assert!(error < 1e-13, "{} block {block}: {error}", network.name);
            }
        }
    }
}

/// The exact Hessian of a scalar function of z and W is symmetric; the parts of its residual were derived separately.
#[test]
fn residuals_are_symmetric() {
    for network in networks() {
        let mut point = point(&network);
        for block in 0..point.blocks.len() {
            let wrt = [vec![point.blocks[block].input], point.parameters_of(block)].concat();
            let residual = point.residual(block, &wrt);
            let error = largest(&(&residual - &residual.t())) / largest(&residual).max(1e-12);
            assert!(error < 1e-12, "{} block {block}: {error}", network.name);
        }
    }
}
