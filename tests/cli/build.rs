//! `blkc build`: native trainers, files for reading, libraries.

use crate::user::{Result, User, finish};

fn built(user: &User, options: &str) -> Result {
    user.blkc(&format!("build net.blk {options}")).good()
}

#[test]
fn a_native_trainer_gives_the_bits_of_train() {
    let user = User::new();
    for (name, options) in
        [("native", ""), ("v3", "--target-cpu x86-64-v3"), ("any", "--target-cpu portable")]
    {
        let told = built(&user, &format!("-o {name} {options}")).stderr;
        assert_eq!(told, format!("wrote {name}\n"));
        user.run(name, &format!("--data csv:points.csv --out {name}.native")).good();
        user.blkc(&format!("train net.blk --data csv:points.csv --out {name}.jit {options}")).good();
        for file in ["last.safetensors", "best.safetensors", "state.safetensors"] {
            let read = |run: &str| user.read(&format!("{name}.{run}/{file}"));
            assert!(read("native") == read("jit"), "{name}: {file}");
        }
    }
    // A run of the one is gone on with by the other.
    user.run("native", "--data csv:points.csv --resume native.jit --epochs 4").good();
}

/// Wide enough that the memory of a step is far above what the kernel counts by the page.
const WIDE: &str = "\
network wide(x: f32[512]) -> class[10] {
    x
    |> block a { dense(1024) |> batch_norm |> relu }
    |> block b { dense(1024) |> batch_norm |> relu }
    |> block out { dense(10, bias = true) }
    |> cross_entropy
}
train wide { batch = 1024, optimizer = sgd(lr = 0.1, momentum = 0.9) }
";

#[test]
fn a_step_uses_the_memory_that_summary_promises() {
    let user = User::new();
    user.write("wide.blk", WIDE);
    user.blkc("build wide.blk -o wide").good();
    let promised = user.blkc("summary wide.blk --format json").good().json()["peak_bytes"].as_f64().unwrap();
    let report = user.run("wide", "bench --steps 1 --format json").good().json();
    assert_eq!(report["peak_bytes"].as_f64(), Some(promised));
    let Some(used) = report["used_bytes"].as_f64() else { return };
    assert!((used / promised - 1.0).abs() <= 0.1, "{used} bytes used, {promised} promised");
}

#[test]
fn a_machine_without_the_features_is_told_so_or_runs() {
    let user = User::new();
    built(&user, "-o v4 --target-cpu x86-64-v4");
    let result = user.run("v4", "--data csv:points.csv --steps 2");
    match std::is_x86_feature_detected!("avx512f") {
        true => drop(result.good()),
        false => result.refused(1, &["compiled for a processor with", "avx512f", "--target-cpu portable"]),
    }
}

/// A run of `name` with processor features masked; what `run.json` says of the code that ran.
#[cfg(target_arch = "x86_64")]
fn masked(user: &User, name: &str, features: &str, run: &str) -> Result {
    let options = ["--data", "csv:points.csv", "--epochs", "2", "--out", run];
    finish(user.command(user.path(name)).args(options).env("BLK_FEATURES", features))
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_portable_trainer_takes_the_widest_code_that_the_machine_can_run() {
    let user = User::new();
    built(&user, "-o net --target-cpu portable");
    let needed = |run: &str| -> Vec<String> {
        let run: serde_json::Value =
            serde_json::from_str(&user.text(&format!("{run}/run.json"))).expect("JSON");
        let features = run["target"]["features"].as_array().expect("features");
        features.iter().map(|feature| feature.as_str().expect("a name").to_string()).collect()
    };
    for (mask, run, level) in [("-avx512f", "v3", "x86-64-v3"), ("-avx512f,-avx2", "least", "x86-64")] {
        if level == "x86-64-v3" && !std::is_x86_feature_detected!("avx2") {
            continue;
        }
        masked(&user, "net", mask, run).good();
        assert_eq!(needed(run).iter().any(|feature| feature == "avx2"), level == "x86-64-v3");
        assert!(!needed(run).iter().any(|feature| feature.starts_with("avx512")));
        // The same bits as code made for that machine alone.
        user.blkc(&format!(
            "train net.blk --data csv:points.csv --epochs 2 --out jit.{run} --target-cpu {level}"
        ))
        .good();
        let read = |folder: &str| user.read(&format!("{folder}/last.safetensors"));
        assert!(read(run) == read(&format!("jit.{run}")), "{level}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_trainer_for_another_processor_says_what_is_missing() {
    let user = User::new();
    built(&user, "-o net --target-cpu x86-64-v3");
    let told = masked(&user, "net", "-avx2,-fma", "run");
    told.refused(
        1,
        &["compiled for a processor with avx2, fma, which this one lacks", "--target-cpu portable"],
    );
}

/// Where qemu is installed, machines that this one is not.
#[test]
#[cfg(target_arch = "x86_64")]
fn older_processors_run_portable_trainers_and_refuse_others() {
    let user = User::new();
    if user.command("qemu-x86_64").arg("--version").output().is_err() {
        return eprintln!("skipped: no qemu-x86_64");
    }
    built(&user, "-o any --target-cpu portable");
    built(&user, "-o v3 --target-cpu x86-64-v3");
    let on = |processor: &str, name: &str| {
        let options = ["--data", "csv:points.csv", "--epochs", "1", "--threads", "1"];
        finish(user.command("qemu-x86_64").args(["-cpu", processor, &format!("./{name}")]).args(options))
    };
    on("Nehalem", "any").good();
    on("Haswell", "any").good();
    on("Haswell", "v3").good();
    on("Nehalem", "v3").refused(1, &["avx2", "which this one lacks"]);
}

/// Object code always; the trainer where there are a runtime and a cross compiler, and then it runs where qemu is.
#[test]
#[cfg(target_arch = "x86_64")]
fn code_for_aarch64_is_made_here() {
    let user = User::new();
    built(&user, "-o net.o --emit obj --target-cpu aarch64");
    assert_eq!(user.read("net.o")[18], 183, "not the ELF number of aarch64");
    user.blkc("train net.blk --data csv:points.csv --steps 1 --target-cpu aarch64")
        .refused(1, &["compiled for aarch64"]);
    let linked = user.blkc("build net.blk -o net --target-cpu aarch64");
    if linked.stderr.contains("carries no runtime") {
        return linked.refused(1, &["--emit obj", "BLK_RUNTIMES=aarch64-unknown-linux-gnu"]);
    }
    if linked.stderr.contains("cannot run the C compiler driver") {
        return linked.refused(1, &["aarch64-linux-gnu-gcc", "set CC"]);
    }
    linked.good();
    let mut qemu = user.command("qemu-aarch64");
    if qemu.arg("--version").output().is_err() {
        return eprintln!("skipped: no qemu-aarch64");
    }
    let options = [
        "-L",
        "/usr/aarch64-linux-gnu",
        "./net",
        "--data",
        "csv:points.csv",
        "--epochs",
        "2",
        "--out",
        "arm",
    ];
    finish(user.command("qemu-aarch64").args(options)).good();
    assert!(user.text("arm/run.json").contains("aarch64"));
}

#[test]
fn a_native_trainer_takes_what_a_run_can_choose() {
    let user = User::new();
    built(&user, "-o net");
    let options = "--data csv:points.csv --epochs 2 --steps 9 --seed 5 --threads 1 --lr 0.1 --set momentum=0.2 --no-shuffle";
    user.run("net", options).good();
    user.run("net", &format!("train {options}")).good();
    let help = user.run("net", "--help").good().stdout;
    assert!(help.contains("network `small` (batch 8, f32, sgd)") && help.contains("Examples:"), "{help}");
    let report = user.run("net", "bench --steps 3 --threads 1 --format json").good().json();
    assert_eq!((&report["network"], &report["batch"]), (&"small".into(), &8.into()));
}

#[test]
fn a_native_trainer_says_what_is_fixed() {
    let user = User::new();
    built(&user, "-o net");
    for option in [
        "batch 3",
        "precision f32",
        "optimizer adam",
        "network b",
        "target-cpu native",
        "target-features -fma",
    ] {
        let name = option.split(' ').next().unwrap_or_default();
        let said = format!("--{name} is fixed when the program is built");
        user.run("net", &format!("--{option}")).refused(2, &[&said, "blkc build"]);
        user.run("net", &format!("bench --{option}")).refused(2, &[&said]);
    }
    user.run("net", "--set optimizer=3").refused(2, &["the optimizer is fixed"]);
    user.run("net", "--data digits").refused(1, &["samples of [8, 8]", "takes [2]"]);
    user.run("net", "").refused(2, &["no data to train on"]);
}

#[test]
fn code_can_be_read_and_linked() {
    let user = User::new();
    built(&user, "-o net.o --emit obj --target-cpu x86-64-v3");
    assert!(user.read("net.o").starts_with(b"\x7fELF"));
    built(&user, "-o net.s --emit asm --target-cpu x86-64-v3");
    let assembly = user.text("net.s");
    assert!(assembly.contains("ymm") && !assembly.contains("zmm"), "not the code of x86-64-v3");
    built(&user, "-o net.ll --emit llvm-ir --target-features -avx512f");
    let ir = user.text("net.ll");
    assert!(ir.contains("define") && !ir.contains("+avx512f"), "avx512f is asked for");
}

#[test]
fn what_cannot_be_built_is_named() {
    let user = User::new();
    user.blkc("build net.blk").refused(2, &["--output"]);
    user.blkc("build net.blk -o none/net").refused(1, &["cannot write none/net", "no folder none"]);
    user.blkc("build net.blk -o . --emit asm").refused(1, &["it is a folder"]);
    user.blkc("build net.blk -o net.h --emit lib").refused(2, &["names the library"]);
    user.blkc("build net.blk -o net --emit jar").refused(2, &["exe", "lib", "obj", "asm", "llvm-ir"]);
    user.blkc("build net.blk -o net --target-cpu z80").refused(2, &["unknown target `z80`"]);
    let mut command = user.command(env!("CARGO_BIN_EXE_blkc"));
    let without = finish(command.args(["build", "net.blk", "-o", "net"]).env("CC", "no-such-compiler"));
    without.refused(1, &["no-such-compiler", "install gcc or clang, or set CC"]);
}

/// Trains by the C interface until the loss has halved, and tries what it must refuse.
const CALLER: &str = r#"
#include <stdio.h>
#include <string.h>
#include "LIBRARY.h"

#define CHECK(fine) do { if (!(fine)) { printf("line %d: %s\n", __LINE__, blk_last_error()); return 1; } } while (0)

int main(void) {
    static float input[BLK_BATCH * BLK_INPUT], losses[BLK_BATCH], output[BLK_BATCH * BLK_OUTPUT];
    static blk_target target[BLK_BATCH * BLK_TARGETS];
    float first = 0, loss = 0, weights[16];
    for (int i = 0; i < BLK_BATCH; i++) {
        target[i] = i % 2;
        input[i * BLK_INPUT] = (float)(i % 2) - 0.5f;
        input[i * BLK_INPUT + 1] = (float)(i % 3);
    }
    CHECK(strstr(blk_manifest_json(), "\"h.dense.W\""));
    blk_trainer *trainer = blk_create(2);
    CHECK(trainer);
    CHECK(blk_step(trainer, input, target, &loss) == -1 && strstr(blk_last_error(), "blk_init"));
    CHECK(blk_init(trainer, 7, 1, 100) == 0);
    CHECK(blk_set(trainer, "lr", 0.2) == 0);
    CHECK(blk_set(trainer, "speed", 1) == -1 && strstr(blk_last_error(), "lr, momentum"));
    CHECK(blk_step(trainer, input, target, &first) == 0);
    for (int step = 1; step < 100; step++) CHECK(blk_step(trainer, input, target, &loss) == 0);
    CHECK(loss < 0.5f * first);
    CHECK(blk_eval(trainer, input, target, 3, output, losses) == 0);
    CHECK(losses[0] > 0 && losses[0] < first && losses[3] == 0 && output[0] > output[1]);
    CHECK(blk_eval(trainer, input, NULL, 3, NULL, losses) == -1 && strstr(blk_last_error(), "targets"));
    CHECK(blk_eval(trainer, input, target, BLK_BATCH + 1, output, NULL) == -1);
    CHECK(blk_read(trainer, "h.dense.W", weights, 16) == 0 && weights[0] != 0);
    CHECK(blk_read(trainer, "h.dense.W", weights, 15) == -1 && strstr(blk_last_error(), "16 numbers"));
    CHECK(blk_read(trainer, "h.dense.V", weights, 16) == -1 && strstr(blk_last_error(), "h.dense.V"));
    memset(weights, 0, sizeof weights);
    CHECK(blk_write(trainer, "h.dense.W", weights, 16) == 0);
    CHECK(blk_step(NULL, input, target, &loss) == -1 && blk_step(trainer, NULL, target, &loss) == -1);
    target[0] = 2;
    CHECK(blk_step(trainer, input, target, &loss) == -1 && strstr(blk_last_error(), "2 classes"));
    blk_destroy(trainer);
    puts("trained");
    return 0;
}
"#;

fn cc(user: &User, arguments: &[&str]) {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    finish(user.command(compiler).args(["-std=c11", "-Wall", "-Wextra", "-Werror"]).args(arguments)).good();
}

#[test]
fn a_shared_library_is_called_from_c() {
    let user = User::new();
    let told = built(&user, "-o libnet.so --emit lib").stderr;
    assert_eq!(told, "wrote libnet.so\nwrote libnet.h\n");
    user.write("caller.c", CALLER.replace("LIBRARY", "libnet"));
    cc(&user, &["caller.c", "-o", "caller", "./libnet.so"]);
    assert_eq!(user.run("caller", "").good().stdout, "trained\n");
    assert_eq!(exported(&user, "libnet.so"), EXPORTED);
}

#[test]
fn a_static_library_is_called_from_c() {
    let user = User::new();
    built(&user, "-o libnet.a --emit lib");
    user.write("caller.c", CALLER.replace("LIBRARY", "libnet"));
    cc(&user, &["caller.c", "-o", "caller", "libnet.a", "-lm", "-lpthread", "-ldl"]);
    assert_eq!(user.run("caller", "").good().stdout, "trained\n");
    let list = finish(user.command("nm").args(["-g", "--defined-only", "libnet.a"])).good().stdout;
    let names: Vec<&str> =
        list.lines().filter_map(|line| line.split_once(" T ").map(|(_, name)| name)).collect();
    assert_eq!(names, EXPORTED);
}

/// Weights change at every second call only.
const ACCUMULATING: &str = r#"
#include <stdio.h>
#include "libnet.h"

int main(void) {
    static float input[BLK_BATCH * BLK_INPUT], weights[3][16];
    static blk_target target[BLK_BATCH];
    for (int i = 0; i < BLK_BATCH; i++) input[i * BLK_INPUT] = (float)i;
    blk_trainer *trainer = blk_create(1);
    if (!trainer || blk_init(trainer, 7, 1, 100) || BLK_ACCUMULATE != 2) return 1;
    for (int call = 0; call < 4; call++) {
        if (blk_step(trainer, input, target, NULL)) return 1;
        if (blk_read(trainer, "h.dense.W", weights[call % 3], 16)) return 1;
        int changed = 0;
        for (int i = 0; i < 16; i++) changed |= weights[call % 3][i] != weights[(call + 2) % 3][i];
        if (call > 0) printf("%d", changed);
    }
    blk_destroy(trainer);
    return 0;
}
"#;

#[test]
fn a_library_updates_when_it_has_seen_enough_batches() {
    let user = User::new();
    user.write("net.blk", crate::user::NET.replace("batch = 8", "batch = 8, accumulate = 2"));
    built(&user, "-o libnet.so --emit lib");
    user.write("caller.c", ACCUMULATING);
    cc(&user, &["caller.c", "-o", "caller", "./libnet.so"]);
    assert_eq!(user.run("caller", "").good().stdout, "101");
}

const EXPORTED: [&str; 10] = [
    "blk_create",
    "blk_destroy",
    "blk_eval",
    "blk_init",
    "blk_last_error",
    "blk_manifest_json",
    "blk_read",
    "blk_set",
    "blk_step",
    "blk_write",
];

/// Names that the dynamic linker sees.
fn exported(user: &User, library: &str) -> Vec<String> {
    let list = finish(user.command("nm").args(["-D", "--defined-only", library])).good().stdout;
    list.lines().filter_map(|line| line.split_whitespace().last()).map(String::from).collect()
}
