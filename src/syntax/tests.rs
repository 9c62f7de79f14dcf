//! Whole files through the parser.

use proptest::prelude::*;

use super::ast::*;
use super::parse;
use crate::diag::Diagnostics;
use crate::source::Sources;

fn parsed(source: &str) -> (File, Diagnostics) {
    let mut sources = Sources::default();
    let file = sources.add("test.blk", source);
    parse(&sources, file)
}

fn clean(name: &str, source: &str) -> File {
    let (tree, diagnostics) = parsed(source);
    assert!(diagnostics.is_empty(), "{name}: {diagnostics:#?}");
    tree
}

fn codes(source: &str) -> Vec<&'static str> {
    parsed(source).1.into_iter().map(|diagnostic| diagnostic.code).collect()
}

/// The value of `fn f(t) = …`.
fn expression(source: &str) -> Expr {
    let mut tree = clean(source, &format!("fn f(t) = {source}"));
    match tree.items.pop().map(|item| item.kind) {
        Some(ItemKind::Fn(function)) => function.body,
        other => panic!("not a function: {other:?}"),
    }
}

/// An expression with all its brackets.
fn bracketed(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Int(value) => value.to_string(),
        ExprKind::Name(name) => name.clone(),
        ExprKind::Unary(op, operand) => format!("({op} {})", bracketed(operand)),
        ExprKind::Binary { op, left, right, .. } => {
            format!("({} {op} {})", bracketed(left), bracketed(right))
        }
        ExprKind::Pipe(left, right) => format!("({} |> {})", bracketed(left), bracketed(right)),
        ExprKind::If { then, condition, otherwise } => {
            format!("({} if {} else {})", bracketed(then), bracketed(condition), bracketed(otherwise))
        }
        other => format!("{other:?}"),
    }
}

fn groups(source: &str, expected: &str) {
    assert_eq!(bracketed(&expression(source)), expected);
}

#[test]
fn the_standard_library_parses() {
    for (name, text) in crate::stdlib::FILES {
        assert!(!clean(name, text).items.is_empty());
    }
}

#[test]
fn examples_parse() {
    for entry in std::fs::read_dir("examples").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "blk") {
            clean(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn operators_bind_as_documented() {
    groups("a + b * c ^ d ^ e", "(a + (b * (c ^ (d ^ e))))");
    groups("-a ^ b @ c", "((- (a ^ b)) @ c)");
    groups("a ^ -b", "(a ^ (- b))");
    groups("a - b - c", "((a - b) - c)");
    groups("not a == b and c or d", "(((not (a == b)) and c) or d)");
    groups("a + b |> c if d else e if g else h", "(((a + b) |> c) if d else (e if g else h))");
    groups("a < b + c", "(a < (b + c))");
}

#[test]
fn types_and_roles_reach_the_tree() {
    let source = "op a(w: [[int]], phi: op = b, s: str)(x: [c, ..]) -> [c] {\n param W: [c] ~ z as weight if true\n W\n}";
    let ItemKind::Op(op) = clean(source, source).items.remove(0).kind else { panic!() };
    let list = |of| ConfigType::List(Box::new(of));
    let types: Vec<_> = op.config.into_iter().map(|param| param.ty.unwrap()).collect();
    assert_eq!(types, [list(list(ConfigType::Int)), ConfigType::Op, ConfigType::Str]);
    let dims = op.tensors.unwrap().remove(0).ty.unwrap().dims;
    assert!(matches!(dims[..], [Dim::Expr(_), Dim::Rest(_)]));
    let Body::Block(statements) = op.body else { panic!() };
    let StmtKind::Param { role, condition, .. } = &statements[0].kind else { panic!() };
    assert_eq!((role.as_ref().unwrap().text.as_str(), condition.is_some()), ("weight", true));
}

#[test]
fn spans_are_exact() {
    let source = "// é\nfn f(t) = (a +\n  b)  // end\n\n";
    let mut sources = Sources::default();
    let file = sources.add("test.blk", source);
    let (tree, _) = parse(&sources, file);
    assert_eq!(sources.text(tree.items[0].span), "fn f(t) = (a +\n  b)");
    let ItemKind::Fn(function) = &tree.items[0].kind else { panic!() };
    assert_eq!(sources.text(function.body.span), "(a +\n  b)");
    let ExprKind::Binary { op_span, right, .. } = &function.body.kind else { panic!() };
    assert_eq!((sources.text(*op_span), sources.text(right.span)), ("+", "b"));
}

#[test]
fn a_broken_item_hides_no_other() {
    let source = "fn a(t) = (t\nfn b(t) = t +\nfn c(t) = t\nnetwrok d(x) {}\nfn e(t) = t % 2\n";
    let (tree, diagnostics) = parsed(source);
    let found: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    assert_eq!(found, ["S005", "S007", "S008", "S001"]);
    assert_eq!(tree.items.len(), 1);
    let broken: Vec<_> = tree.broken.iter().map(|name| name.text.as_str()).collect();
    assert_eq!(broken, ["a", "b", "d", "e"]);
}

#[test]
fn every_broken_line_of_a_body_is_reported() {
    let source = "op f()(x: [n]) {\n  let a = x +\n  let b = = 2\n  let c = 3\n  parm W: [n] ~ zeros\n  x\n}";
    assert_eq!(codes(source).len(), 3, "{:#?}", parsed(source).1);
}

#[test]
fn a_semicolon_is_reported_and_read_as_a_line_end() {
    let (tree, diagnostics) = parsed("op f()(x) { let a = x; a }");
    assert_eq!((tree.items.len(), diagnostics.len()), (1, 1));
}

fn repeated(head: &str, part: &str, times: usize, tail: &str) -> String {
    format!("{head}{}{tail}", part.repeat(times))
}

#[test]
fn nesting_is_bounded_in_every_form() {
    let many = 20_000;
    for (head, part, tail) in [
        ("fn f(t) = ", "(", ""),
        ("fn f(t) = ", "[(", "t"),
        ("fn f(t) = ", "- ", "t"),
        ("fn f(t) = ", "not ", "t"),
        ("fn f(t) = t", " ^ t", ""),
        ("fn f(t) = t", " ^ -t", ""),
        ("fn f(t) = t", " if t else t", ""),
    ] {
        let source = repeated(head, part, many, tail);
        assert!(matches!(codes(&source)[..], ["S020" | "S005"]), "{part}");
    }
    let nested = format!("fn f(t) = {}t{}", "(".repeat(many), ")".repeat(many));
    assert_eq!(codes(&nested), ["S020"]);
}

#[test]
fn allowed_nesting_fits_a_small_stack() {
    let nested = format!("fn f(t) = {}t{}", "f(-(".repeat(40), "))".repeat(40));
    let worst =
        format!("fn f(t) = {}t{}", "(".repeat(super::MAX_NESTING - 1), ")".repeat(super::MAX_NESTING - 1));
    let small = std::thread::Builder::new().stack_size(1 << 20);
    small.spawn(move || [nested, worst].map(|source| clean("nested", &source))).unwrap().join().unwrap();
}

#[test]
fn chains_are_bounded() {
    let many = 10_000;
    for part in [" + t", " |> t", " and t", "(t)", ".t", "[t]", " @ t"] {
        assert_eq!(codes(&repeated("fn f(t) = t", part, many, "")), ["S021"], "{part}");
    }
    clean("chain", &repeated("fn f(t) = t", " + t", 1000, ""));
}

#[test]
fn numbers_have_bounds() {
    assert_eq!(codes("fn f(t) = 9223372036854775808"), ["S003"]);
    assert_eq!(codes("fn f(t) = 1e999"), ["S003"]);
    assert_eq!(codes(&repeated("fn f(t) = ", "9", 100_000, "")), ["S003"]);
}

#[test]
fn files_and_items_have_bounds() {
    assert_eq!(codes(&" ".repeat(super::MAX_FILE + 1)), ["S022"]);
    let (tree, diagnostics) = parsed(&repeated("", "fn f(t) = t\n", super::MAX_ITEMS + 5, ""));
    assert_eq!((tree.items.len(), diagnostics.len()), (super::MAX_ITEMS, 1));
}

fn help(source: &str) -> String {
    let diagnostics = parsed(source).1;
    assert_eq!(diagnostics.len(), 1, "{diagnostics:#?}");
    diagnostics[0].help.clone().unwrap_or_default()
}

#[test]
fn mistakes_come_with_their_cure() {
    for (source, cure) in [
        ("netwrok a(x: f32[1]) -> class[2] { x }", "did you mean `network`?"),
        ("op a()(x) {\n parm W: [n] ~ zeros\n x\n}", "did you mean `param` in place of `parm`?"),
        ("op a()(x) {\n batch m = mean(x) runing 1 from 0\n x\n}", "did you mean `running`"),
        ("fn a(t) = t ** 2", "`a ^ b`"),
        ("fn a(t) = t + .5", "`0.5`"),
        ("fn a(t) = 1.", "write `1.0`"),
        ("fn a(t) = b(t t)", "is a `,` missing?"),
        ("train a { data digits() }", "is a `=` missing?"),
        ("op a(x: [c]) = x", "the second: `name()(x: [n])`"),
        ("optimizer a(W, g) { W = g }", "`a()(…)`"),
        ("fn a(t) = if t > 0 then t else 0", "`a if condition else b`"),
        ("fn a(t) = t && t", "write `and`"),
        ("network a(x: f32[1]) -> class[2] {\n x\n dense(2)\n}", "begin with `|>`"),
    ] {
        let help = help(source);
        assert!(help.contains(cure), "{source}: {help}");
    }
}

/// Pieces of programs, whole and broken.
fn pieces() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "network ",
        "op ",
        "fn ",
        "loss ",
        "optimizer ",
        "schedule ",
        "init ",
        "train ",
        "use ",
        "param ",
        "batch ",
        "let ",
        "state ",
        "block ",
        "for ",
        "in ",
        "if ",
        "else ",
        "and ",
        "not ",
        "as ",
        "like ",
        "running ",
        "from ",
        "x ",
        "W ",
        "f",
        "3",
        "1e-5",
        "9e999",
        "12a",
        "\"s\"",
        "\"",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "|>",
        "->",
        "=",
        "==",
        "+",
        "-",
        "*",
        "@",
        "^",
        "~",
        ",",
        ":",
        ".",
        "..",
        "\n",
        " ",
        "// c\n",
        "/// d\n",
        ";",
        "é",
        "\u{0}",
        "class",
        "f32",
        "int",
        "true ",
    ];
    proptest::collection::vec(proptest::sample::select(WORDS), 0..60).prop_map(|words| words.concat())
}

/// A file of the standard library with one stretch cut out and something put in.
fn mutated() -> impl Strategy<Value = String> {
    let file = proptest::sample::select(crate::stdlib::FILES);
    (file, any::<proptest::sample::Index>(), 0..40_usize, pieces()).prop_map(|((_, text), at, cut, piece)| {
        let boundary =
            |byte: usize| (byte..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
        let start = boundary(at.index(text.len()));
        format!("{}{piece}{}", &text[..start], &text[boundary((start + cut).min(text.len()))..])
    })
}

/// Whatever comes in: no panic, every place within the text, an item lost only with a reason, and it all renders.
fn is_handled(source: &str) {
    let mut sources = Sources::default();
    let file = sources.add("test.blk", source);
    let (tree, diagnostics) = parse(&sources, file);
    for label in diagnostics.iter().flat_map(|diagnostic| &diagnostic.labels) {
        let _ = sources.text(label.span);
    }
    for item in &tree.items {
        assert!(!sources.text(item.span).is_empty());
    }
    let rendered = crate::diag::render::render(&diagnostics, &sources, Default::default());
    assert_eq!(rendered.is_empty(), diagnostics.is_empty());
    assert!(tree.broken.is_empty() || !diagnostics.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn any_text_is_handled(source in any::<String>()) {
        is_handled(&source);
    }

    #[test]
    fn any_soup_of_tokens_is_handled(source in pieces()) {
        is_handled(&source);
    }

    #[test]
    fn any_mutated_library_is_handled(source in mutated()) {
        is_handled(&source);
    }
}
