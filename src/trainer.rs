//! The runtime as a static library, packed into the compiler when it was built: what native trainers are linked with.

use std::io::Read;

use flate2::read::GzDecoder;

// `PACKED`: the architecture and the packed library of each target that `build.rs` was told of, this machine first.
include!(concat!(env!("OUT_DIR"), "/runtimes.rs"));

/// The bytes of `libblk_runtime.a` for an architecture.
pub fn library(architecture: &str) -> Result<Vec<u8>, String> {
    let packed =
        PACKED.iter().find(|(known, _)| *known == architecture).ok_or_else(|| absent(architecture))?;
    let mut library = Vec::new();
    GzDecoder::new(packed.1).read_to_end(&mut library).map_err(|error| {
        format!("the runtime inside this compiler is damaged ({error}): install it again")
    })?;
    Ok(library)
}

fn absent(architecture: &str) -> String {
    let triple = format!("{architecture}-unknown-linux-gnu");
    format!(
        "this compiler carries no runtime for {architecture}: it writes object code for it (--emit obj), and links it when \
         it was itself built with BLK_RUNTIMES={triple} in the environment (after `rustup target add {triple}`)"
    )
}
