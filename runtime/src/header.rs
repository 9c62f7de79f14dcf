//! The C header of a library (`blkc build --emit lib`): the same functions for every network, with its figures.

use crate::manifest::{Manifest, Task};

const TEMPLATE: &str = include_str!("header.h");

/// The functions that a library offers.
pub const EXPORTS: [&str; 10] = [
    "blk_manifest_json",
    "blk_last_error",
    "blk_create",
    "blk_destroy",
    "blk_init",
    "blk_set",
    "blk_step",
    "blk_eval",
    "blk_read",
    "blk_write",
];

/// The header of the network that the manifest describes.
pub fn header(manifest: &Manifest) -> String {
    let (targets, kind) = match manifest.task {
        Task::Class { .. } => (1, "int32_t"),
        Task::Float { size } => (size, "float"),
    };
    let figures = [
        ("@NETWORK@", manifest.network.clone()),
        ("@COMPILER@", manifest.compiler.clone()),
        ("@BATCH@", manifest.batch.to_string()),
        ("@ACCUMULATE@", manifest.accumulate.to_string()),
        ("@INPUT@", manifest.sample_size().to_string()),
        ("@OUTPUT@", manifest.task.outputs().to_string()),
        ("@TARGETS@", targets.to_string()),
        ("@TARGET@", kind.to_string()),
    ];
    figures.iter().fold(TEMPLATE.to_string(), |text, (place, figure)| text.replace(place, figure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_declares_every_function_that_is_offered() {
        let code = TEMPLATE.lines().filter(|line| !line.starts_with("/*") && !line.starts_with(" *"));
        let code: Vec<&str> = code.collect();
        for name in EXPORTS {
            assert_eq!(code.iter().filter(|line| line.contains(&format!("{name}("))).count(), 1, "{name}");
        }
    }
}
