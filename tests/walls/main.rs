//! The walls of ARCHITECTURE.md: which room of the house may know which, which crate is used where, and that no name of
//! the standard library or of an intrinsic is wired into the compiler. Unit tests are exempt.

mod source;

use std::collections::BTreeSet;

use source::{RustFile, functions, read_all};

fn violations(files: &[RustFile], mut broken: impl FnMut(&RustFile) -> Vec<(usize, String)>) -> String {
    let mut lines = Vec::new();
    for file in files {
        for (at, what) in broken(file) {
            lines.push(format!("{}:{}: {what}", file.path, file.line(at)));
        }
    }
    lines.join("\n")
}

fn check(what: &str, violations: String) {
    assert!(violations.is_empty(), "{what}:\n{violations}");
}

fn in_room(file: &RustFile, room: &str) -> bool {
    file.path.starts_with(&format!("src/{room}/")) || file.path == format!("src/{room}.rs")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every room of this crate that a file names, by `crate::room`, `use crate::{room, …}` or `super::…` up to the root.
fn rooms(file: &RustFile) -> Vec<(usize, String)> {
    let to_root = "super::".repeat(file.modules().len());
    let mut found = Vec::new();
    for prefix in ["crate::", to_root.as_str()].into_iter().filter(|prefix| !prefix.is_empty()) {
        for (at, _) in file.code.match_indices(prefix) {
            let outside = !file.code[..at].ends_with(is_word) && !file.code[..at].ends_with("super::");
            let rest = &file.code[at + prefix.len()..];
            if outside {
                found.extend(heads(rest).into_iter().map(|room| (at, room)));
            }
        }
    }
    found
}

/// The first segments of a path, or of each path of a group `{a::b, c}`.
fn heads(rest: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|&c| is_word(c)).collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let mut depth = 0;
    let mut heads = vec![word(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(word(&group[at + 1..])),
            _ => {}
        }
    }
    heads
}

/// Room, and what it must not know.
const WALLS: &[(&str, &[&str])] = &[
    (
        "syntax",
        &[
            "intrinsics",
            "stdlib",
            "resolve",
            "shape",
            "ir",
            "sym",
            "hessian",
            "loops",
            "lower",
            "codegen",
            "driver",
            "cli",
        ],
    ),
    (
        "diag",
        &[
            "syntax",
            "intrinsics",
            "resolve",
            "shape",
            "ir",
            "sym",
            "hessian",
            "loops",
            "lower",
            "codegen",
            "driver",
            "cli",
        ],
    ),
    ("ir", &["syntax", "resolve", "shape", "hessian", "lower", "codegen", "driver", "cli"]),
    (
        "sym",
        &[
            "ir",
            "intrinsics",
            "source",
            "diag",
            "syntax",
            "resolve",
            "shape",
            "hessian",
            "loops",
            "lower",
            "codegen",
            "driver",
            "cli",
        ],
    ),
    (
        "loops",
        &[
            "ir",
            "intrinsics",
            "sym",
            "hessian",
            "syntax",
            "resolve",
            "shape",
            "lower",
            "codegen",
            "driver",
            "cli",
        ],
    ),
    ("codegen", &["syntax", "resolve", "shape", "cli"]),
    ("hessian", &["syntax", "resolve", "loops", "lower", "codegen", "cli"]),
    ("intrinsics", &["syntax", "resolve", "hessian", "lower", "codegen", "driver", "cli"]),
];

#[test]
fn rooms_know_only_what_they_may() {
    let files = read_all(&["src"]);
    for (room, forbidden) in WALLS {
        let inside: Vec<_> = files.iter().filter(|file| in_room(file, room)).collect();
        assert!(!inside.is_empty(), "no room `{room}`");
        let found = violations(&files, |file| {
            let mut named = if in_room(file, room) { rooms(file) } else { vec![] };
            named.retain(|(_, other)| forbidden.contains(&other.as_str()));
            named
        });
        check(&format!("`{room}` knows what it must not"), found);
    }
}

/// Crate, and the only files that may name it.
const CRATES: &[(&str, &str)] = &[
    ("inkwell", "src/codegen/llvm/"),
    ("llvm_sys", "src/codegen/llvm/"),
    ("pest", "src/syntax/"),
    ("pest_derive", "src/syntax/"),
    ("logos", "src/syntax/"),
    ("miette", "src/diag/render.rs"),
];

fn names_crate(file: &RustFile, name: &str) -> Vec<(usize, String)> {
    let whole = |at: usize| {
        let (before, after) = (&file.code[..at], &file.code[at + name.len()..]);
        let is_use = before.ends_with("use ") && after.starts_with([';', ':', ' ']);
        !before.ends_with(|c| is_word(c) || c == '.' || c == ':') && (after.starts_with("::") || is_use)
    };
    let found = file.code.match_indices(name).filter(|&(at, _)| whole(at));
    found.map(|(at, _)| (at, format!("names the crate `{name}`"))).collect()
}

#[test]
fn each_outside_crate_has_its_one_place() {
    let files = read_all(&["src", "runtime/src"]);
    for (name, place) in CRATES {
        let outside = |file: &RustFile| match file.path.starts_with(place) {
            true => vec![],
            false => names_crate(file, name),
        };
        check(&format!("`{name}` belongs to {place}"), violations(&files, outside));
    }
    let users = files.iter().filter(|file| !names_crate(file, "inkwell").is_empty()).count();
    assert!(users > 0, "the scan finds no user of inkwell at all: it is broken");
}

/// Who may print: the command line for the compiler, the reporter and the main function for native trainers.
const PRINTERS: [&str; 4] = ["src/cli/", "src/main.rs", "runtime/src/progress.rs", "runtime/src/trainer.rs"];

#[test]
fn only_the_command_line_prints() {
    const WAYS: [&str; 7] = ["println!", "eprintln!", "print!", "eprint!", "dbg!", "stdout()", "stderr()"];
    let found = violations(&read_all(&["src", "runtime/src"]), |file| {
        if PRINTERS.iter().any(|printer| file.path.starts_with(printer)) {
            return vec![];
        }
        let places = WAYS.iter().flat_map(|way| file.code.match_indices(way));
        let whole = places.filter(|&(at, _)| !file.code[..at].ends_with(is_word));
        whole.map(|(at, way)| (at, format!("uses {way}"))).collect()
    });
    check("printing outside the command line", found);
}

#[test]
fn the_runtime_knows_nothing_of_the_compiler() {
    let manifest = std::fs::read_to_string("runtime/Cargo.toml").unwrap();
    assert!(!manifest.lines().any(|line| line.trim_start().starts_with("blkc")));
    let files = read_all(&["runtime/src"]);
    check("the runtime names the compiler", violations(&files, |file| names_crate(file, "blkc")));
}

/// The names that the standard library defines.
fn library_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in blkc::stdlib::FILES {
        for line in text.lines() {
            let mut words = line.split(|c: char| !is_word(c));
            let kind = words.next().unwrap_or("");
            let defines = ["op", "fn", "loss", "optimizer", "schedule", "init", "network"].contains(&kind);
            names.extend(words.next().filter(|name| defines && !name.is_empty()).map(String::from));
        }
    }
    names
}

/// Names of the standard library that are words of the language in another sense too.
const TWO_MEANINGS: [(&str, &str); 2] =
    [("bias", "a role of parameters"), ("step", "the update that an optimizer or a report counts")];

#[test]
fn no_name_of_the_library_is_wired_in() {
    let mut names = library_names();
    assert!(names.len() > 20, "the scan finds no definitions: it is broken");
    for (name, _) in TWO_MEANINGS {
        assert!(names.remove(name), "`{name}` needs no exception");
    }
    check(
        "names of the library as strings",
        violations(&read_all(&["src", "runtime/src"]), |file| {
            let wired = file.strings.iter().filter(|(_, text)| names.contains(text));
            wired.map(|(at, text)| (*at, format!("\"{text}\""))).collect()
        }),
    );
}

/// Words of English or of a formula that are spelt like an intrinsic: file, word, what it means there.
const SPELT_ALIKE: [(&str, &str, &str); 2] = [
    ("src/hessian/explain/page.rs", "where", "introduces the parts of a formula"),
    ("src/hessian/explain/latex.rs", "where", "introduces the parts of a formula"),
];

/// An intrinsic's name stands in its own file, in the registry and in the library. Operators that are words belong to
/// the language; the loops and the machine code, which know no intrinsics, have a vocabulary of their own.
#[test]
fn names_of_intrinsics_stay_with_them() {
    let named =
        blkc::intrinsics::ALL.iter().filter(|intrinsic| intrinsic.operator() != Some(intrinsic.name()));
    let names: BTreeSet<&str> = named.map(|intrinsic| intrinsic.name()).collect();
    assert!(names.len() > 20, "the registry is empty: the scan finds nothing");
    let exempt = |file: &RustFile| ["intrinsics", "loops", "codegen"].iter().any(|room| in_room(file, room));
    let alike = |file: &RustFile, text: &str| {
        SPELT_ALIKE.iter().any(|&(path, word, _)| path == file.path && word == text)
    };
    check(
        "names of intrinsics as strings",
        violations(&read_all(&["src"]), |file| {
            let named = file.strings.iter().filter(|(_, text)| names.contains(text.as_str()));
            let wired = named.filter(|(_, text)| !exempt(file) && !alike(file, text));
            wired.map(|(at, text)| (*at, format!("\"{text}\""))).collect()
        }),
    );
}

#[test]
fn functions_are_short() {
    const LONGEST: usize = 80;
    let files = read_all(&["src", "runtime/src"]);
    let mut lengths: Vec<usize> = files.iter().flat_map(functions).map(|(_, _, lines)| lines).collect();
    lengths.sort();
    let long = lengths.iter().filter(|&&lines| lines > 35).count();
    println!("{} functions, median {} lines, {long} over 35", lengths.len(), lengths[lengths.len() / 2]);
    let found = files.iter().flat_map(|file| {
        let too_long = functions(file).into_iter().filter(|&(_, _, lines)| lines > LONGEST);
        too_long.map(|(name, line, lines)| format!("{}:{line}: `{name}` has {lines} lines", file.path))
    });
    check("functions over 80 lines", found.collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_scan_sees_code_and_strings_apart() {
    let (code, strings) =
        source::strip("use a; // crate::ir\nlet c = '\"'; let l: &'a str = r#\"x\"y\"#; \"z\\\"\"");
    assert!(!code.contains("crate") && code.contains("&'a str"), "{code}");
    let texts: Vec<_> = strings.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["x\"y", "z\\\""]);
    assert_eq!(heads("{ir::{Type, Node}, sym, axes::Axis};"), ["ir", "sym", "axes"]);
}

/// A letter for the stage and three digits.
fn is_code(text: &str) -> bool {
    let digits = text.get(1..).unwrap_or("");
    text.starts_with(['S', 'N', 'T', 'L', 'D', 'G'])
        && digits.len() == 3
        && digits.bytes().all(|b| b.is_ascii_digit())
}

#[test]
fn every_diagnostic_is_documented() {
    let manual = std::fs::read_to_string("docs/diagnostics.md").unwrap();
    let listed: BTreeSet<&str> =
        manual.lines().filter_map(|line| line.strip_prefix("| ")?.get(..4)).collect();
    let files = read_all(&["src"]);
    let given = files.iter().flat_map(|file| &file.strings).map(|(_, text)| text.as_str());
    let given: BTreeSet<&str> = given.filter(|text| is_code(text)).collect();
    assert!(given.contains("S007"), "the scan finds no codes: it is broken");
    let missing: Vec<_> = given.difference(&listed).collect();
    assert!(missing.is_empty(), "not in docs/diagnostics.md: {missing:?}");
    let stale: Vec<_> = listed.iter().filter(|code| is_code(code) && !given.contains(*code)).collect();
    assert!(stale.is_empty(), "listed but never given: {stale:?}");
}
