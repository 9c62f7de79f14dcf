//! `blkc plot`: the sheet of one run and of several, and what it refuses.

use crate::user::User;

fn train(user: &User, options: &str) {
    user.write("scaled.blk", user.text("net.blk").replace("sgd(lr = 0.5", "scale_amended(lr = 0.01"));
    user.blkc(&format!("train scaled.blk --data csv:points.csv --log-every 3 {options}")).good();
}

#[test]
fn every_run_has_its_lines_in_every_panel() {
    let user = User::new();
    train(&user, "--out one");
    train(&user, "--out two --lr 0.1");
    let svg = user.blkc("plot one two").good().stdout;
    for part in
        ["<svg ", ">one<", ">two<", ">Loss<", ">Accuracy<", ">Learning rate<", ">h.dense.W<", ">out.dense.W<"]
    {
        assert_eq!(svg.matches(part).count(), 1, "{part}");
    }
    // Loss, accuracy, learning rate and two factors; the loss of single batches besides.
    for run in 0..2 {
        assert_eq!(svg.matches(&format!("\" class=\"c{run} main\"/>\n")).count(), 1 + 5, "run {run}");
        assert_eq!(svg.matches(&format!("\" class=\"c{run} batches\"/>\n")).count(), 1, "run {run}");
    }
    assert!(svg.contains("prefers-color-scheme: dark") && !svg.contains("NaN") && !svg.contains("inf"));
    user.blkc("plot one two/metrics.jsonl -o sheet.svg").good();
    assert!(user.text("sheet.svg").contains(">metrics.jsonl<"));
}

/// Numbers of the first line with this class: x and y in turn.
fn places(svg: &str, class: &str) -> Vec<f64> {
    let line = svg.lines().find(|line| line.contains(class) && line.starts_with("<path")).expect("a path");
    let d = line.split('"').nth(1).expect("its points");
    d.split(['M', 'L', ' '])
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().expect("a number"))
        .collect()
}

#[test]
fn a_line_of_a_resumed_or_killed_run_never_goes_back() {
    let user = User::new();
    train(&user, "--out run");
    let text = user.text("run/metrics.jsonl");
    let half: String = text.lines().take(5).map(|line| format!("{line}\n")).collect();
    // Another session from before the end, and a last line that was cut off.
    let rest = text.lines().skip(3).collect::<Vec<_>>().join("\n");
    user.write("run/metrics.jsonl", format!("{half}{rest}\n{{\"kind\":\"ep"));
    let svg = user.blkc("plot run").good().stdout;
    user.write("run/metrics.jsonl", text);
    assert_eq!(svg, user.blkc("plot run").good().stdout);
    let x: Vec<f64> = places(&svg, "c0 main").into_iter().step_by(2).collect();
    assert!(x.len() == 3 && x.is_sorted(), "{x:?}");
}

#[test]
fn runs_under_one_name_are_a_mean_in_a_band() {
    let user = User::new();
    train(&user, "--out one --seed 1");
    train(&user, "--out two --seed 2");
    let svg = user.blkc("plot both=one,two/metrics.jsonl alone=one").good().stdout;
    assert!(svg.contains(">both<") && svg.contains(">alone<") && !svg.contains(">two<"));
    let count = |part: &str| svg.matches(part).count();
    // Loss, that of single batches, accuracy, the rate and two factors.
    assert_eq!((count("class=\"f0 band\""), count("class=\"f1 band\"")), (6, 0));
    let height = |svg: &str| places(svg, "c0 batches");
    let (one, two) = (user.blkc("plot one").good().stdout, user.blkc("plot two").good().stdout);
    assert_eq!(height(&svg).len(), height(&one).len());
    assert_ne!(height(&one), height(&two));
    user.blkc("plot both=one,none").refused(1, &["there is no run none"]);
    std::fs::rename(user.path("one"), user.path("lr=1")).expect("renamed");
    assert!(user.blkc("plot lr=1").good().stdout.contains(">lr=1<"));
}

#[test]
fn what_cannot_be_drawn_is_named() {
    let user = User::new();
    std::fs::create_dir(user.path("empty")).expect("created");
    user.blkc("plot").refused(2, &["RUN"]);
    user.blkc("plot none").refused(1, &["there is no run none", "--out RUN"]);
    user.blkc("plot empty").refused(1, &["empty is no run", "metrics.jsonl"]);
    user.write("empty/metrics.jsonl", "");
    user.blkc("plot empty").refused(1, &["holds no numbers yet"]);
    user.write("empty/metrics.jsonl", "{}\n{}\n");
    user.blkc("plot empty").refused(1, &["empty/metrics.jsonl, line 1 is no entry of a run"]);
    let many = "r ".repeat(13);
    user.blkc(&format!("plot {many}")).refused(2, &["13 runs are too many", "at most 12"]);
    train(&user, "--out run --steps 3");
    user.blkc("plot run -o none/sheet.svg").refused(1, &["cannot write none/sheet.svg"]);
}
