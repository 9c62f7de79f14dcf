//! What a native trainer is: one small file that needs nothing but the C library, and knows its own command line.

use std::process::{Command, Output};

use crate::bits::trainer;

const LARGEST: u64 = 8 << 20;

fn run(args: &[&str]) -> Output {
    Command::new(trainer()).args(args).output().expect("the trainer starts")
}

#[test]
fn it_is_small() {
    let size = std::fs::metadata(trainer()).expect("the trainer").len();
    assert!(size < LARGEST, "{size} bytes");
}

#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
#[test]
fn it_needs_the_c_library_only() {
    let needed = needed(&std::fs::read(trainer()).expect("the trainer"));
    let family = ["libc.", "libm.", "libpthread.", "libdl.", "libgcc_s.", "ld-linux"];
    assert!(needed.iter().any(|name| name.starts_with("libc.")), "{needed:?}");
    for name in &needed {
        assert!(family.iter().any(|member| name.starts_with(member)), "it needs {name}");
    }
}

/// The shared libraries that a 64-bit ELF file asks the loader for.
fn needed(file: &[u8]) -> Vec<String> {
    const LOAD: u64 = 1;
    const DYNAMIC: u64 = 2;
    const NEEDED: u64 = 1;
    const STRINGS: u64 = 5;
    let word = |at: usize, bytes: usize| {
        file[at..at + bytes].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte))
    };
    let (first, size, count) = (word(32, 8) as usize, word(54, 2) as usize, word(56, 2) as usize);
    let segments = || (0..count).map(|number| first + number * size);
    let of_kind = |kind: u64| segments().filter(move |&at| word(at, 4) == kind);
    let place = |address: u64| {
        let inside = |&at: &usize| (word(at + 16, 8)..word(at + 16, 8) + word(at + 32, 8)).contains(&address);
        let segment = of_kind(LOAD).find(inside).expect("a loaded segment");
        (address - word(segment + 16, 8) + word(segment + 8, 8)) as usize
    };
    let dynamic = of_kind(DYNAMIC).next().expect("a dynamic section");
    let (start, length) = (word(dynamic + 8, 8) as usize, word(dynamic + 32, 8) as usize);
    let entries: Vec<(u64, u64)> =
        (start..start + length).step_by(16).map(|at| (word(at, 8), word(at + 8, 8))).collect();
    let strings = entries.iter().find(|entry| entry.0 == STRINGS).expect("a table of strings").1;
    let text = |offset: u64| {
        let start = place(strings) + offset as usize;
        file[start..].iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect()
    };
    entries.iter().filter(|entry| entry.0 == NEEDED).map(|entry| text(entry.1)).collect()
}

#[test]
fn it_explains_itself() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in ["net", "batch 50", "--epochs", "--resume", "bench"] {
        assert!(text.contains(word), "no `{word}` in\n{text}");
    }
}

#[test]
fn what_is_compiled_in_cannot_be_asked_for() {
    for asked in [["--batch", "32"], ["--precision", "bf16"], ["--optimizer", "sgd"]] {
        let output = run(&asked);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{asked:?}: {text}");
        assert!(text.contains(asked[0]) && text.contains("fixed") && text.contains("blkc"), "{text}");
    }
}

#[test]
fn a_wrong_command_line_is_told_from_wrong_data() {
    assert_eq!(run(&["--epochs", "many"]).status.code(), Some(2));
    let output = run(&["--data", "csv:/nowhere/at/all.csv", "--epochs", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}
