//! The machine for which code is made: chosen by the features that it has, never by the name of a processor.

use blk_runtime::{features, manifest};

use super::llvm;

/// A target machine. Equal targets get equal code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As LLVM writes it: `x86_64-unknown-linux-gnu`.
    pub triple: String,
    /// Features that the code may use, in the names of LLVM, sorted, beyond the architecture's baseline.
    pub features: Vec<String>,
}

/// Features worth asking for: those that the generated code can use.
const USED: &[&str] = &[
    "amx-bf16",
    "amx-tile",
    "avx",
    "avx2",
    "avx512bf16",
    "avx512bw",
    "avx512cd",
    "avx512dq",
    "avx512f",
    "avx512vl",
    "bmi",
    "bmi2",
    "f16c",
    "fma",
    "lzcnt",
    "movbe",
    "popcnt",
    "sse3",
    "sse4.1",
    "sse4.2",
    "ssse3",
];

/// For tests: kernels for tile registers on every machine, their instructions written out. No feature of processors.
pub const EMULATE_TILES: &str = "emulate-amx";

/// The levels of the x86-64 psABI, each with the features of those before it, and a processor with what the generated
/// code can use beyond them.
const LEVELS: &[(&str, &[&str])] = &[
    ("x86-64", &[]),
    ("x86-64-v2", &["popcnt", "sse3", "sse4.1", "sse4.2", "ssse3"]),
    ("x86-64-v3", &["avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"]),
    ("x86-64-v4", &["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"]),
    ("sapphirerapids", &["amx-bf16", "amx-tile", "avx512bf16"]),
];

/// What `portable` code for x86-64 carries, the widest first.
const PORTABLE: &[&str] = &["x86-64-v4", "x86-64-v3", "x86-64"];

const ARM: &str = "aarch64-unknown-linux-gnu";
const X86: &str = "x86_64-unknown-linux-gnu";

impl Target {
    /// This machine, with all its features that code can use.
    pub fn native() -> Target {
        let mut features = llvm::host_features();
        // What the system does not grant, or the user has masked, is as good as absent.
        let granted = |feature: &str| features::detect(feature) != Some(false);
        features.retain(|feature| USED.contains(&feature.as_str()) && granted(feature));
        features.sort();
        Target { triple: llvm::host_triple(), features }
    }

    /// The machines that code is made for, the one with the widest vectors first. `cpu`: `native`, `portable` (several on
    /// x86-64, among which the code chooses when it starts), a level of x86-64, `sapphirerapids`, or `aarch64`;
    /// `changes` to each as in `+avx2,-avx512f`.
    pub fn paths(cpu: Option<&str>, changes: Option<&str>) -> Result<Vec<Target>, String> {
        let mut paths = match cpu.unwrap_or("native") {
            "native" => vec![Target::native()],
            "portable" if Target::native().is_x86() => {
                PORTABLE.iter().map(|level| Target::level(level)).collect::<Result<_, _>>()?
            }
            "portable" => vec![Target::of_triple(&llvm::host_triple())],
            "aarch64" => vec![Target::of_triple(&own_triple_or(ARM))],
            level => vec![Target::level(level)?],
        };
        for change in changes.unwrap_or("").split(',').filter(|change| !change.is_empty()) {
            paths.iter_mut().try_for_each(|target| target.change(change))?;
        }
        paths.dedup();
        Ok(paths)
    }

    /// Of [`Target::paths`] the one that this machine takes; where it can take none, the least.
    pub fn choose(cpu: Option<&str>, changes: Option<&str>) -> Result<Target, String> {
        let mut paths = Target::paths(cpu, changes)?;
        let taken = paths.iter().position(|path| features::check(&path.described()).is_ok());
        Ok(paths.swap_remove(taken.unwrap_or(paths.len() - 1)))
    }

    fn level(name: &str) -> Result<Target, String> {
        Ok(Target { triple: own_triple_or(X86), features: level_features(name)? })
    }

    /// As the runtime reads it.
    pub fn described(&self) -> manifest::Target {
        manifest::Target { triple: self.triple.clone(), features: self.features.clone() }
    }

    /// The first word of the triple.
    pub fn architecture(&self) -> &str {
        self.triple.split('-').next().unwrap_or_default()
    }

    /// Whether the code is for the architecture on which the compiler runs.
    pub fn is_own_architecture(&self) -> bool {
        self.architecture() == std::env::consts::ARCH
    }

    /// The baseline of another architecture or system, by its triple.
    pub fn of_triple(triple: &str) -> Target {
        Target { triple: triple.to_string(), features: Vec::new() }
    }

    fn change(&mut self, change: &str) -> Result<(), String> {
        let (add, name) = match (change.strip_prefix('+'), change.strip_prefix('-')) {
            (Some(name), _) => (true, name),
            (_, Some(name)) => (false, name),
            _ => return Err(format!("`{change}`: write +feature or -feature")),
        };
        if self.is_x86() && !USED.contains(&name) && name != EMULATE_TILES {
            return Err(format!("unknown feature `{name}`; known are {}", USED.join(", ")));
        }
        self.features.retain(|known| known != name && (add || !implies(known, name)));
        if add {
            self.features.push(name.to_string());
        }
        self.features.sort();
        Ok(())
    }

    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }

    pub fn is_x86(&self) -> bool {
        self.triple.starts_with("x86_64")
    }

    /// Bits of the widest vector registers that the code uses.
    pub fn vector_bits(&self) -> u32 {
        if self.has("avx512f") && self.has("avx512vl") && self.has("avx512dq") && self.has("avx512bw") {
            512
        } else if self.has("avx2") && self.has("fma") {
            256
        } else {
            128
        }
    }

    /// Numbers of type f32 in a vector register.
    pub fn lanes(&self) -> u32 {
        self.vector_bits() / 32
    }

    /// Vector registers that a kernel may count on.
    pub fn vector_registers(&self) -> u32 {
        if self.is_x86() && self.vector_bits() < 512 { 16 } else { 32 }
    }

    /// Whether a·b + c can be had in one rounding at the speed of a product.
    pub fn has_fma(&self) -> bool {
        !self.is_x86() || self.has("fma")
    }

    /// Whether there are instructions for bf16: conversion, and sums of two products.
    pub fn has_bf16(&self) -> bool {
        self.is_x86() && self.has("avx512bf16") && self.vector_bits() == 512
    }

    /// Whether there are tile registers for products of bf16.
    pub fn has_tiles(&self) -> bool {
        self.is_x86() && self.has("amx-tile") && self.has("amx-bf16")
    }

    /// Whether kernels for tile registers run on memory instead.
    pub fn emulates_tiles(&self) -> bool {
        self.has(EMULATE_TILES)
    }

    /// Whether rounding to an integer is one instruction.
    pub fn has_round(&self) -> bool {
        !self.is_x86() || self.has("sse4.1") || self.has("avx")
    }

    /// The features as LLVM reads them: `+avx2,+fma`.
    pub fn feature_string(&self) -> String {
        let features = self.features.iter().filter(|feature| *feature != EMULATE_TILES);
        features.map(|feature| format!("+{feature}")).collect::<Vec<_>>().join(",")
    }

    /// The name of the baseline processor that LLVM starts from.
    pub fn baseline(&self) -> &'static str {
        if self.is_x86() { "x86-64" } else { "generic" }
    }
}

/// This machine's triple where it is of that architecture, so that its system's own names are kept.
fn own_triple_or(triple: &str) -> String {
    let own = llvm::host_triple();
    let architecture = |triple: &str| triple.split('-').next().map(str::to_string);
    if architecture(&own) == architecture(triple) { own } else { triple.to_string() }
}

fn level_features(level: &str) -> Result<Vec<String>, String> {
    let Some(last) = LEVELS.iter().position(|(name, _)| *name == level) else {
        let names: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "unknown target `{level}`; known are native, portable, {}, aarch64",
            names.join(", ")
        ));
    };
    let mut features: Vec<String> =
        LEVELS[..=last].iter().flat_map(|(_, features)| *features).map(ToString::to_string).collect();
    features.sort();
    Ok(features)
}

/// Whether `feature` cannot be had without `base`.
fn implies(feature: &str, base: &str) -> bool {
    match base {
        "avx512f" => feature.starts_with("avx512"),
        "avx2" => feature.starts_with("avx512"),
        "avx" => feature.starts_with("avx") || feature == "fma" || feature == "f16c",
        "fma" => feature.starts_with("avx512"),
        "amx-tile" => feature == "amx-bf16",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(cpu: &str, changes: Option<&str>) -> Target {
        let mut paths = Target::paths(Some(cpu), changes).unwrap();
        assert_eq!(paths.len(), 1, "{cpu}");
        paths.remove(0)
    }

    #[test]
    fn features_decide_the_vector_width() {
        let bits = |cpu, changes| one(cpu, changes).vector_bits();
        assert_eq!(bits("x86-64", None), 128);
        assert_eq!(bits("x86-64-v3", None), 256);
        assert_eq!(bits("x86-64-v4", None), 512);
        assert_eq!(bits("sapphirerapids", None), 512);
        assert_eq!(bits("aarch64", None), 128);
        assert_eq!(bits("x86-64-v4", Some("-avx512f")), 256);
        assert_eq!(bits("x86-64-v3", Some("-fma")), 128);
    }

    #[test]
    fn levels_contain_the_ones_below() {
        let spr = one("sapphirerapids", None);
        assert!(one("x86-64-v4", None).features.iter().all(|feature| spr.has(feature)));
        assert!(spr.has("amx-bf16") && !one("sapphirerapids", Some("-amx-tile")).has("amx-bf16"));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn portable_code_has_several_paths_the_widest_first() {
        let bits = |changes| -> Vec<u32> {
            Target::paths(Some("portable"), changes).unwrap().iter().map(Target::vector_bits).collect()
        };
        assert_eq!(bits(None), [512, 256, 128]);
        // Two that became equal are one.
        assert_eq!(bits(Some("-avx512f")), [256, 128]);
        let own = Target::choose(Some("portable"), None).unwrap();
        assert!(features::check(&own.described()).is_ok());
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        assert!(Target::choose(Some("skylake"), None).unwrap_err().contains("x86-64-v3"));
        assert!(Target::choose(None, Some("+warp")).unwrap_err().contains("avx2"));
        assert!(Target::choose(None, Some("avx2")).unwrap_err().contains("+feature"));
    }
}
