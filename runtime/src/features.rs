//! Does this machine have what the code was compiled for?

use std::sync::OnceLock;

use crate::Error;
use crate::manifest::Target;

/// Refuses a program made for another kind of processor, naming the features that are missing.
pub fn check(target: &Target) -> Result<(), Error> {
    check_architecture(&target.triple)?;
    let missing = missing(target.features.iter().map(String::as_str));
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!(
        "this program was compiled for a processor with {}, which this one lacks",
        missing.join(", ")
    ))
    .with_help(
        "build it again for this machine, or for every machine of its kind with --target-cpu portable",
    ))
}

/// Features that count as missing, as in `-avx512f,-avx2`: for tests of what happens without them, and to get the bits
/// of a machine that has less.
pub const MASK_VARIABLE: &str = "BLK_FEATURES";

fn masked(feature: &str) -> bool {
    static MASKED: OnceLock<Vec<String>> = OnceLock::new();
    let read = || {
        let text = std::env::var(MASK_VARIABLE).unwrap_or_default();
        text.split(',').map(|name| name.trim().trim_start_matches('-').to_string()).collect()
    };
    MASKED.get_or_init(read).iter().any(|name| name == feature)
}

/// Whether this machine has the feature with this name of LLVM's, and it is not masked; `None` for names that stand for
/// no instruction set that generated code could use unasked.
pub fn detect(feature: &str) -> Option<bool> {
    if masked(feature) { Some(false) } else { present(feature) }
}

/// Those of the features that this machine lacks.
pub fn missing<'a>(features: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    features
        .map(|feature| feature.trim_start_matches('+'))
        .filter(|feature| !feature.starts_with('-') && detect(feature) == Some(false))
        .collect()
}

fn check_architecture(triple: &str) -> Result<(), Error> {
    let wanted = triple.split('-').next().unwrap_or_default();
    let here = std::env::consts::ARCH;
    let same = wanted == here || (wanted == "arm64" && here == "aarch64");
    if same || wanted.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!("this program was compiled for {wanted}; this machine is {here}")))
}

#[cfg(target_arch = "x86_64")]
fn present(feature: &str) -> Option<bool> {
    macro_rules! features {
        ($($llvm:literal => $name:tt),* $(,)?) => {
            match feature {
                $($llvm => Some(std::is_x86_feature_detected!($name)),)*
                _ => None,
            }
        };
    }
    if feature.starts_with("amx") {
        return Some(kernel_flag(&feature.replace('-', "_")) && tiles_granted());
    }
    features! {
        "sse3" => "sse3", "ssse3" => "ssse3", "sse4.1" => "sse4.1", "sse4.2" => "sse4.2", "popcnt" => "popcnt",
        "avx" => "avx", "avx2" => "avx2", "fma" => "fma", "f16c" => "f16c", "bmi" => "bmi1", "bmi2" => "bmi2",
        "lzcnt" => "lzcnt", "avx512f" => "avx512f", "avx512cd" => "avx512cd", "avx512bw" => "avx512bw",
        "avx512dq" => "avx512dq", "avx512vl" => "avx512vl", "avx512ifma" => "avx512ifma",
        "avx512vbmi" => "avx512vbmi", "avx512vbmi2" => "avx512vbmi2", "avx512vnni" => "avx512vnni",
        "avx512bitalg" => "avx512bitalg", "avx512vpopcntdq" => "avx512vpopcntdq", "avx512bf16" => "avx512bf16",
        "gfni" => "gfni", "vaes" => "vaes", "vpclmulqdq" => "vpclmulqdq", "pclmul" => "pclmulqdq", "aes" => "aes",
    }
}

#[cfg(target_arch = "aarch64")]
fn present(feature: &str) -> Option<bool> {
    match feature {
        "neon" => Some(std::arch::is_aarch64_feature_detected!("neon")),
        "sve" => Some(std::arch::is_aarch64_feature_detected!("sve")),
        "bf16" => Some(std::arch::is_aarch64_feature_detected!("bf16")),
        _ => None,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn present(_feature: &str) -> Option<bool> {
    None
}

/// The standard library cannot yet be asked about matrix tiles; the kernel lists them among its flags.
#[cfg(target_arch = "x86_64")]
fn kernel_flag(name: &str) -> bool {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split_whitespace().any(|flag| flag == name))
}

/// Rows of a tile register (AMX), and bytes of a row: at most 16 of 64.
pub type TileShape = (u8, u8);

/// The operand of LDTILECFG that gives the eight tile registers these shapes: palette 1; from byte 16 on the bytes per row, from 48
/// on the rows of each register.
pub const fn tile_configuration(shapes: [TileShape; 8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut register = 0;
    while register < 8 {
        let (rows, row) = shapes[register];
        (bytes[16 + 2 * register], bytes[48 + register]) = (row, rows);
        register += 1;
    }
    bytes
}

/// Whether this process may use tile registers. Linux grants their memory to those who ask for it; it is asked once, for
/// all threads.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tiles_granted() -> bool {
    use std::ffi::c_long;
    const ARCH_PRCTL: c_long = 158;
    const REQUEST_PERMISSION: c_long = 0x1023;
    const TILE_DATA: c_long = 18;
    unsafe extern "C" {
        fn syscall(number: c_long, ...) -> c_long;
    }
    static GRANTED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    // SAFETY: the call touches no memory of the program.
    *GRANTED.get_or_init(|| unsafe { syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0 })
}

/// Other systems grant them unasked or not at all, and do not say which.
#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn tiles_granted() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(triple: &str, features: &[&str]) -> Target {
        Target { triple: triple.into(), features: features.iter().map(|f| f.to_string()).collect() }
    }

    #[test]
    fn accepts_this_machine() {
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        assert_eq!(check(&target(&triple, &["-avx512f", "some-tuning"])), Ok(()));
    }

    #[test]
    fn names_another_architecture() {
        let error = check(&target("riscv64-unknown-linux-gnu", &[])).unwrap_err();
        assert!(error.message.contains("riscv64"), "{error}");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn names_a_missing_feature() {
        let triple = "x86_64-unknown-linux-gnu";
        let error = check(&target(triple, &["+sse3", "amx-of-another-world"])).unwrap_err();
        assert!(error.message.contains("with amx-of-another-world,"), "{error}");
    }
}
