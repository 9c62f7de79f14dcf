//! With the feature `mpi`: compiles the binding with this machine's implementation of MPI, and links with it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "mpi")]
    mpi::build();
}

#[cfg(feature = "mpi")]
mod mpi {
    use std::process::Command;

    const SOURCE: &str = "src/ranks/mpi.c";

    pub fn build() {
        println!("cargo::rerun-if-changed={SOURCE}");
        println!("cargo::rerun-if-env-changed=MPICC");
        let compiler = std::env::var("MPICC").unwrap_or_else(|_| "mpicc".into());
        // What the compiler calls for a program that is linked with MPI; Open MPI and MPICH both tell.
        let shown = Command::new(&compiler).args(["-show", "x.o"]).output();
        let shown = match shown {
            Ok(shown) if shown.status.success() => String::from_utf8_lossy(&shown.stdout).into_owned(),
            _ => panic!(
                "the feature `mpi` needs an MPI with its compiler `{compiler}`: \
                 apt-get install libopenmpi-dev openmpi-bin, or set MPICC"
            ),
        };
        cc::Build::new().file(SOURCE).compiler(&compiler).compile("blk_mpi");
        for word in shown.split_whitespace() {
            if let Some(folder) = word.strip_prefix("-L") {
                println!("cargo::rustc-link-search=native={folder}");
            } else if let Some(library) = word.strip_prefix("-l") {
                println!("cargo::rustc-link-lib={library}");
            }
        }
    }
}
