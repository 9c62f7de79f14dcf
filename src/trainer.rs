//! The runtime as a static library, packed into the compiler when it was built: what native trainers are linked with.

use std::io::Read;

use flate2::read::GzDecoder;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime.a.gz"));

/// The bytes of `libblk_runtime.a` for the machine that the compiler was built for.
pub fn library() -> Result<Vec<u8>, String> {
    let mut library = Vec::new();
    GzDecoder::new(PACKED).read_to_end(&mut library).map_err(|error| {
        format!("the runtime inside this compiler is damaged ({error}): install it again")
    })?;
    Ok(library)
}
