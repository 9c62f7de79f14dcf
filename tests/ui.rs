//! Programs with the diagnostics that they must give. `tests/ui/<feature>/*.blk` carries its expectations:
//!
//! - `//~ OK` on the first line: the file checks clean;
//! - `//~ ERROR T003 part of the message` (or `WARNING`): this line is the place of that diagnostic;
//! - `//~^ ERROR …`: the line above is, with one `^` per line.
//!
//! Every diagnostic must be expected and every expectation met. The message, labels and help are searched for the text.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use blkc::compile;
use blkc::diag::{Diagnostic, Diagnostics, Severity, render};
use blkc::driver::{FrontOptions, front};
use blkc::source::{DiskLoader, Loader, MemoryLoader, Sources};

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expectation {
    line: usize,
    severity: &'static str,
    code: String,
    text: String,
}

/// The expectations written in a file, and whether it says that there are none.
fn expectations(text: &str) -> (Vec<Expectation>, bool) {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((_, mark)) = line.split_once("//~") else { continue };
        let above = mark.len() - mark.trim_start_matches('^').len();
        let mut words = mark[above..].trim().splitn(3, ' ');
        let severity = match words.next() {
            Some("ERROR") => "error",
            Some("WARNING") => "warning",
            _ => continue,
        };
        let code = words.next().unwrap_or("").to_string();
        let text = words.next().unwrap_or("").trim().to_string();
        found.push(Expectation { line: index + 1 - above, severity, code, text });
    }
    (found, text.starts_with("//~ OK"))
}

fn meets(expectation: &Expectation, diagnostic: &Diagnostic, line: usize) -> bool {
    let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
    let remarks = diagnostic.labels.iter().map(|label| label.text.as_str()).chain(diagnostic.help.as_deref());
    let says = diagnostic.message.contains(&expectation.text)
        || remarks.into_iter().any(|r| r.contains(&expectation.text));
    expectation.line == line
        && expectation.severity == severity
        && expectation.code == diagnostic.code
        && says
}

/// What the compiler says of a file on the disk: of its syntax only where it lies under `syntax`.
fn diagnose(path: &Path) -> (Sources, Diagnostics) {
    let name = path.to_string_lossy().replace('\\', "/");
    if !name.contains("ui/syntax/") {
        return checked(&name, &DiskLoader);
    }
    let mut sources = Sources::default();
    let file = sources.add(&name, &std::fs::read_to_string(path).unwrap());
    let (_, diagnostics) = blkc::syntax::parse(&sources, file);
    (sources, diagnostics)
}

fn checked(name: &str, loader: &dyn Loader) -> (Sources, Diagnostics) {
    let front = front(name, loader, &FrontOptions::default());
    (front.sources, front.diagnostics)
}

/// What is wrong with the diagnostics of one program.
fn complaints(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let (mut expected, clean) = expectations(&text);
    let (sources, diagnostics) = diagnose(path);
    let mut complaints = Vec::new();
    if clean != expected.is_empty() {
        complaints.push("must say either `//~ OK` or what is expected".to_string());
    }
    for diagnostic in &diagnostics {
        let span = diagnostic.labels[0].span;
        let (line, _) = render::position(&sources, span.file, span.start as usize);
        match expected.iter().position(|expectation| meets(expectation, diagnostic, line)) {
            Some(index) => drop(expected.remove(index)),
            None => complaints.push(render::render(
                std::slice::from_ref(diagnostic),
                &sources,
                Default::default(),
            )),
        }
    }
    complaints.extend(expected.iter().map(|missing| format!("missing: {missing:?}")));
    complaints.iter().map(|complaint| format!("{}: {complaint}", path.display())).collect()
}

fn programs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(programs(&path));
        } else if path.extension().is_some_and(|extension| extension == "blk") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_program_gives_the_diagnostics_that_it_names() {
    let programs = programs(Path::new("tests/ui"));
    assert!(programs.len() > 30);
    let complaints: Vec<_> = programs.iter().flat_map(|path| complaints(path)).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What checks clean can be derived and lowered: no later stage finds a mistake of the program's.
#[test]
fn what_checks_clean_can_be_planned() {
    let mut planned = 0;
    for path in programs(Path::new("tests/ui")).iter().filter(|path| !path.starts_with("tests/ui/syntax")) {
        let front = front(&path.to_string_lossy(), &DiskLoader, &FrontOptions::default());
        for network in &front.networks {
            let plan = compile::plan(network);
            assert!(plan.is_ok(), "{}: {}: {}", path.display(), network.name, plan.err().unwrap_or_default());
            planned += 1;
        }
    }
    assert!(planned > 30);
}

/// The standard library itself, and every example, check clean.
#[test]
fn the_examples_check_clean() {
    for path in programs(Path::new("examples")) {
        let (sources, diagnostics) = diagnose(&path);
        assert!(diagnostics.is_empty(), "{}", render::render(&diagnostics, &sources, Default::default()));
    }
}

/// Every sample of the language reference checks clean.
#[test]
fn the_samples_of_the_reference_check_clean() {
    let reference = std::fs::read_to_string("docs/language.md").unwrap();
    let samples: Vec<_> =
        reference.split("```blk\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(samples.len() >= 4);
    for (index, sample) in samples.iter().enumerate() {
        let name = format!("sample{index}.blk");
        let loader = MemoryLoader([(name.clone(), sample.to_string())].into());
        let (sources, diagnostics) = checked(&name, &loader);
        assert!(diagnostics.is_empty(), "{}", render::render(&diagnostics, &sources, Default::default()));
    }
}

#[test]
fn expectations_are_read() {
    let (found, clean) = expectations("a //~ ERROR S001 some text\n\nb\n//~^^ WARNING N002 x y");
    assert!(!clean);
    assert_eq!((found[0].line, found[0].code.as_str(), found[0].text.as_str()), (1, "S001", "some text"));
    assert_eq!((found[1].line, found[1].severity, found[1].text.as_str()), (2, "warning", "x y"));
}

/// Words that are put into programs, right or wrong.
const WORDS: &[&str] = &[
    "x",
    "1",
    "0",
    "-1",
    "2.5",
    "1e30",
    "true",
    "[1, 2]",
    "[]",
    "..",
    "batch",
    "dense",
    "relu",
    "(",
    ")",
    "(3)",
    "|>",
    "+",
    "@",
    "^ 2",
    "if",
    "else 1",
    "for i in 3 { relu }",
    "block b { relu }",
    "\n",
    "W",
    "scale.m",
    "training",
    "random()",
    "mean(x)",
    "over = [c]",
    "residual(",
    "norm",
    "n",
    "d",
    "f32[3]",
    "class[2]",
    "as weight",
    "~ zeros",
    "\"s\"",
    "= 3",
];

/// Whole programs that check clean.
fn sound_programs() -> Vec<String> {
    let reference = std::fs::read_to_string("docs/language.md").unwrap();
    let samples = reference.split("```blk\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut texts: Vec<String> = samples.map(String::from).collect();
    let files = [
        "tests/ui/library/every_definition.blk",
        "tests/ui/library/images.blk",
        "tests/ui/library/unusual.blk",
        "stdlib/nn.blk",
    ];
    texts.extend(files.map(|file| std::fs::read_to_string(file).unwrap()));
    texts
}

/// Two stretches of one to three words, and what happens to them.
#[derive(Clone, Debug)]
enum Change {
    Replace(&'static str),
    Delete,
    Repeat,
    Swap,
}

fn changed(text: &str, change: &Change, at: [usize; 2], length: usize) -> String {
    let words: Vec<&str> = text.split_inclusive([' ', '(', ')', '[', ']', '\n', ',']).collect();
    let mut starts = at.map(|at| at % words.len());
    starts.sort();
    let [first, second] = starts;
    let end = (first + length).min(second.max(first + 1)).min(words.len());
    let (before, here, rest) = (&words[..first], words[first..end].concat(), &words[end..]);
    let (before, rest) = (before.concat(), rest.concat());
    match change {
        Change::Replace(word) => format!("{before} {word} {rest}"),
        Change::Delete => before + &rest,
        Change::Repeat => before + &here + &here + &rest,
        Change::Swap => {
            let between = words[end.min(second)..second].concat();
            let last = (second + length).min(words.len());
            format!("{before}{}{between}{here}{}", words[second..last].concat(), words[last..].concat())
        }
    }
}

/// A program with one place changed.
fn mutated() -> impl Strategy<Value = String> {
    let change = prop_oneof![
        3 => proptest::sample::select(WORDS).prop_map(Change::Replace),
        1 => Just(Change::Delete),
        1 => Just(Change::Repeat),
        1 => Just(Change::Swap),
    ];
    let place = any::<[usize; 2]>();
    (proptest::sample::select(sound_programs()), change, place, 1..4usize)
        .prop_map(|(text, change, at, length)| changed(&text, &change, at, length))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// Whatever is written: the front end answers, with networks or with reasons, and what it says can be shown. A
    /// network that it accepts can be derived and lowered (one of them, for time's sake).
    #[test]
    fn mutated_programs_are_answered(text in mutated(), choice in any::<proptest::sample::Index>()) {
        let loader = MemoryLoader([("mutated.blk".to_string(), text)].into());
        let front = front("mutated.blk", &loader, &FrontOptions::default());
        let shown = render::render(&front.diagnostics, &front.sources, Default::default());
        prop_assert_eq!(shown.is_empty(), front.diagnostics.is_empty());
        prop_assert!(front.diagnostics.iter().all(|diagnostic| diagnostic.code != "T099"), "{}", shown);
        if !front.networks.is_empty() {
            let plan = compile::plan(choice.get(&front.networks));
            prop_assert!(plan.is_ok(), "{}", plan.err().unwrap_or_default());
        }
    }
}
