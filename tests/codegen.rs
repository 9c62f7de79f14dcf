//! Machine code against the interpreter of the loop-level IR, and against itself.

use blk_runtime::manifest::RoutineFn;
use blkc::codegen::jit::{Jit, run_levels};
use blkc::codegen::llvm;
use blkc::codegen::target::Target;
use blkc::loops::{BufferId, Elem, Inst, Program, Stmt, interpret, verify};

mod programs;
use programs::{
    Maker, Memory, Orientation, elementwise, fill, floats, gemm, reduction, run_program, sliding,
};

fn by_interpreter(program: &Program) -> Vec<u8> {
    let mut arena = Memory::new(program.arena_bytes);
    fill(program, arena.bytes());
    interpret::run(program, "run", arena.bytes());
    arena.bytes().to_vec()
}

/// Every entry of every buffer agrees to `ulps` units of `scale`.
fn check(program: &Program, target: &Target, ulps: f64, scale: f64) {
    verify::verify(program).expect("a sound program");
    let (expected, found) = (by_interpreter(program), run_program(program, target, |_| ()));
    for number in 0..program.buffers.len() {
        let id = blkc::loops::BufferId(number as u32);
        let pairs = floats(program, &expected, id).into_iter().zip(floats(program, &found, id));
        for (entry, (expected, found)) in pairs.enumerate() {
            let allowed = ulps * f64::from(f32::EPSILON) * scale.max(expected.abs());
            assert!(
                (expected - found).abs() <= allowed,
                "@{number}[{entry}]: {found} instead of {expected}, allowed {allowed}\n{target:?}\n{program}"
            );
        }
    }
}

/// Targets that this machine can run, from plain vectors to the widest.
fn targets() -> Vec<Target> {
    let native = Target::native();
    let levels = ["x86-64", "x86-64-v3", "x86-64-v4"];
    let mut targets = vec![native.clone()];
    for level in levels.iter().filter(|_| native.is_x86()) {
        let target = Target::paths(Some(level), None).expect("a known level").remove(0);
        if target.features.iter().all(|feature| native.has(feature)) {
            targets.push(target);
        }
    }
    targets
}

#[test]
fn elementwise_nests_agree_with_the_interpreter() {
    for target in targets() {
        for (rows, cols, chunk) in [(1, 1, 1), (7, 13, 3), (5, 64, 5), (3, 67, 2)] {
            for vector in [None, Some(1), Some(0)] {
                check(&elementwise(rows, cols, chunk, vector), &target, 8.0, 1.0);
            }
        }
    }
}

#[test]
fn reductions_agree_with_the_interpreter() {
    for target in targets() {
        for (rows, cols, chunk) in [(1, 1, 1), (7, 13, 3), (33, 70, 32), (129, 200, 200)] {
            for over_rows in [false, true] {
                for vector in [None, Some(0), Some(1)] {
                    check(&reduction(rows, cols, chunk, over_rows, vector), &target, 4.0, 1.0);
                }
            }
        }
    }
}

/// Windows and their gradients, whose loops advance by several positions: short ones whole, long ones by a divisor or not.
#[test]
fn reductions_of_several_positions_agree_with_the_interpreter() {
    for target in targets() {
        for extents in [[2, 8, 3, 3], [3, 7, 1, 2], [3, 3, 5, 6], [5, 5, 2, 9], [1, 31, 3, 1], [12, 1, 2, 2]]
        {
            for (channels, chunk) in [(1, 1), (16, 16), (70, 70), (37, 20)] {
                check(&sliding(extents, channels, chunk), &target, 64.0, 1.0);
            }
        }
    }
}

#[test]
fn contractions_agree_with_the_interpreter() {
    use Orientation::{Data, Forward, Spread, Weight};
    for target in targets() {
        for orientation in [Forward, Data, Weight, Spread] {
            for size @ [m, n, k] in [[1, 1, 1], [3, 10, 17], [13, 32, 8], [27, 37, 33], [40, 71, 9]] {
                check(&gemm(orientation, size, 1, false, n), &target, k as f64, 1.0);
                check(&gemm(orientation, size, 2, true, m.div_ceil(2)), &target, 2.0 * k as f64, 1.0);
            }
        }
    }
}

#[test]
fn long_sums_are_cut_into_blocks() {
    for orientation in [Orientation::Forward, Orientation::Weight] {
        check(&gemm(orientation, [14, 18, 5000], 1, false, 16), &Target::native(), 5000.0, 1.0);
    }
}

#[test]
fn orthonormalize_agrees_with_the_interpreter() {
    for (rows, cols) in [(1, 1), (3, 20), (20, 3), (17, 17)] {
        let mut maker = Maker::default();
        let buffer = maker.buffer(Elem::F32, rows * cols);
        maker.level(1, 1, vec![Stmt::Orthonormalize { buffer, rows, cols }]);
        check(&maker.program(), &Target::native(), 1000.0, 1.0);
    }
}

/// Two chunked levels and a serial one, with a shorter last chunk.
fn chained() -> Program {
    let mut program = gemm(Orientation::Forward, [29, 70, 40], 1, false, 32);
    let more = reduction(29, 70, 8, false, Some(1));
    let shift = program.buffers.len() as u32;
    let mut levels = more.routines[0].levels.clone();
    for stmt in levels.iter_mut().flat_map(|level| &mut level.groups).flat_map(|group| &mut group.body) {
        let Stmt::Nest(nest) = stmt else { continue };
        nest.body.insts.iter_mut().for_each(|inst| {
            if let Inst::Load(buffer, _) = inst {
                *buffer = BufferId(shift - 1);
            }
        });
        nest.finish.stores.iter_mut().for_each(|store| store.buffer.0 += shift);
    }
    for buffer in more.buffers {
        program.buffers.push(blkc::loops::Buffer { offset: buffer.offset + program.arena_bytes, ..buffer });
    }
    program.arena_bytes += more.arena_bytes;
    program.routines[0].levels.extend(levels);
    program
}

/// Tasks of a level in any order, each on a thread of its own.
fn by_threads(program: &Program, target: &Target) -> Vec<u8> {
    let jit = Jit::new(program, target).expect("code");
    let mut arena = Memory::new(program.arena_bytes);
    fill(program, arena.bytes());
    let base = arena.bytes().as_mut_ptr() as usize;
    let function = jit.routine(&llvm::symbol("run"));
    let mut first = 0;
    for level in &program.routines[0].levels {
        let tasks = first..first + level.tasks();
        first = tasks.end;
        std::thread::scope(|scope| {
            for task in tasks.rev() {
                scope.spawn(move || {
                    let mut scratch = Memory::new(llvm::scratch_bytes(program, target));
                    // SAFETY: the arena outlives the scope, and tasks of a level do not overlap.
                    unsafe { function(base as *mut u8, task as u32, scratch.bytes().as_mut_ptr()) };
                });
            }
        });
    }
    arena.bytes().to_vec()
}

#[test]
fn threads_do_not_change_a_bit() {
    let (program, target) = (chained(), Target::native());
    check(&program, &target, 100.0, 10.0);
    assert_eq!(run_program(&program, &target, |_| ()), by_threads(&program, &target));
}

#[cfg(target_os = "linux")]
mod native {
    use std::ffi::{CString, c_char, c_int, c_void};
    use std::os::unix::ffi::OsStrExt;

    use blk_runtime::manifest::{PATHS_LEN_SYMBOL, PATHS_SYMBOL, Path};
    use blkc::codegen::{aot, link};

    use super::*;

    unsafe extern "C" {
        fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
        fn dlerror() -> *const c_char;
    }

    /// The object as a shared library in this process.
    fn load(path: &std::path::Path) -> *mut c_void {
        const NOW: c_int = 2;
        let name = CString::new(path.as_os_str().as_bytes()).expect("no zero");
        // SAFETY: the names are C strings; dlerror is asked right after a failure.
        unsafe {
            let library = dlopen(name.as_ptr(), NOW);
            assert!(!library.is_null(), "{:?}", std::ffi::CStr::from_ptr(dlerror()));
            library
        }
    }

    fn find(library: *mut c_void, name: &str) -> *const c_void {
        let name = CString::new(name).expect("no zero");
        // SAFETY: the library is open.
        let address = unsafe { dlsym(library, name.as_ptr()) };
        assert!(!address.is_null(), "{name:?} is missing");
        address
    }

    #[test]
    fn linked_code_gives_the_bits_of_the_jit() {
        let (program, target) = (chained(), Target::native());
        let narrow = Target::paths(Some("x86-64"), None).expect("known").remove(0);
        let path_of = |target| aot::Path { program: &program, target, manifest: b"{}" };
        let paths = [path_of(&target), path_of(&narrow)];
        let object = aot::object(&paths[..if target.is_x86() { 2 } else { 1 }]).expect("object");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("libchained.so");
        let tools = link::Tools::of(&target);
        link::link(&object, b"", link::Output::Shared(&[]), &tools, &path).expect("linked");
        let library = load(&path);
        // SAFETY: the symbols have the types of the runtime's manifest module.
        let paths: Vec<&Path> = unsafe {
            let count = *find(library, PATHS_LEN_SYMBOL).cast::<u64>();
            let paths =
                std::slice::from_raw_parts(find(library, PATHS_SYMBOL).cast::<*const Path>(), count as usize);
            paths.iter().map(|path| &**path).collect()
        };
        for (path, target) in paths.iter().zip([&target, &narrow]) {
            // SAFETY: as above.
            let (features, manifest) = unsafe {
                (
                    std::slice::from_raw_parts(path.features, path.features_len as usize),
                    std::slice::from_raw_parts(path.manifest, path.manifest_len as usize),
                )
            };
            assert_eq!((features, manifest), (target.features.join(",").as_bytes(), &b"{}"[..]));
            assert_eq!(
                by_entries(path, &program, target),
                run_program(&program, target, |_| ()),
                "{target:?}"
            );
        }
    }

    /// The arena after one run of the path's routine.
    fn by_entries(path: &Path, program: &Program, target: &Target) -> Vec<u8> {
        let mut arena = Memory::new(program.arena_bytes);
        let mut scratch = Memory::new(llvm::scratch_bytes(program, target));
        fill(program, arena.bytes());
        let (base, scratch) = (arena.bytes().as_mut_ptr(), scratch.bytes().as_mut_ptr());
        // SAFETY: the table has a function for the routine; memory is as large as the program asks for.
        unsafe { run_levels(&program.routines[0], *path.entries, base, scratch) };
        arena.bytes().to_vec()
    }

    #[test]
    fn a_missing_symbol_is_the_linkers_complaint() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("trainer");
        let error = link::link(
            b"not an object",
            b"",
            link::Output::Executable,
            &link::Tools::of(&Target::native()),
            &target,
        )
        .unwrap_err();
        assert!(error.contains("the linker failed"), "{error}");
    }
}

#[test]
fn statements_that_differ_in_places_and_numbers_share_code() {
    let target = Target::native();
    check(&repeated(12), &target, 100.0, 10.0);
    let pieces = |blocks| {
        let path = blkc::codegen::aot::Path { program: &repeated(blocks), target: &target, manifest: b"{}" };
        let ir = blkc::codegen::aot::llvm_ir(&[path]).expect("IR");
        ir.lines().filter(|line| line.starts_with("define") && line.contains("@blk_piece_")).count()
    };
    assert_eq!((pieces(12), pieces(24)), (4, 4), "two nests and two products");
}

#[test]
fn threads_of_the_compiler_do_not_change_a_bit() {
    let products = (10..42).map(|cols| gemm(Orientation::Forward, [9, cols, 17], 1, false, cols));
    let (program, target) = (joined(products.collect()), Target::native());
    let bits = |threads| {
        let engine = llvm::load(&program, &target, threads).expect("code");
        assert_eq!(engine.modules() > 2, threads > 1, "{} modules", engine.modules());
        let (mut arena, mut scratch) =
            (Memory::new(program.arena_bytes), Memory::new(llvm::scratch_bytes(&program, &target)));
        fill(&program, arena.bytes());
        let address = engine.address(&llvm::symbol("run")).expect("a routine");
        let (base, scratch) = (arena.bytes().as_mut_ptr(), scratch.bytes().as_mut_ptr());
        // SAFETY: a routine's function has this type; memory is as large as the program asks for.
        unsafe {
            run_levels(&program.routines[0], std::mem::transmute::<usize, RoutineFn>(address), base, scratch)
        };
        arena.bytes().to_vec()
    };
    assert_eq!(bits(1), bits(3));
}

/// Products and elementwise nests that do the same to other memory with other numbers; every fourth is wider.
fn repeated(blocks: usize) -> Program {
    let mut parts = Vec::new();
    for block in 0..blocks {
        let cols = if block % 4 == 3 { 21 } else { 14 };
        for mut part in
            [gemm(Orientation::Forward, [9, cols, 17], 1, false, cols), elementwise(9, cols, 9, Some(1))]
        {
            for stmt in &mut part.routines[0].levels[0].groups[0].body {
                stmt.for_scalars(&mut |scalars| {
                    for inst in &mut scalars.insts {
                        if let Inst::Float(number, _) = inst {
                            *number = block as f64 / 64.0;
                        }
                    }
                });
            }
            parts.push(part);
        }
    }
    joined(parts)
}

/// The programs' levels one after the other, each on memory of its own.
fn joined(parts: Vec<Program>) -> Program {
    let mut parts = parts.into_iter();
    let mut whole = parts.next().expect("a program");
    for mut part in parts {
        let (shift, bytes) = (whole.buffers.len() as u32, whole.arena_bytes);
        for stmt in part.routines[0]
            .levels
            .iter_mut()
            .flat_map(|level| &mut level.groups)
            .flat_map(|group| &mut group.body)
        {
            stmt.for_buffers(&mut |buffer| buffer.0 += shift);
        }
        whole
            .buffers
            .extend(part.buffers.into_iter().map(|b| blkc::loops::Buffer { offset: b.offset + bytes, ..b }));
        whole.arena_bytes += part.arena_bytes;
        whole.routines[0].levels.append(&mut part.routines[0].levels);
    }
    whole
}

#[test]
fn objects_for_another_architecture_are_emitted() {
    let arm = Target::of_triple("aarch64-unknown-linux-gnu");
    let path = blkc::codegen::aot::Path { program: &chained(), target: &arm, manifest: b"{}" };
    let object = blkc::codegen::aot::object(&[path]).expect("object");
    // ELF header: class 64, little-endian, machine 183.
    assert_eq!((&object[..4], object[18]), (&b"\x7fELF"[..], 183));
}

#[test]
fn wide_vectors_are_used_where_they_exist() {
    let program = gemm(Orientation::Data, [26, 64, 64], 1, false, 64);
    for (level, register) in [("x86-64-v3", "%ymm"), ("x86-64-v4", "%zmm")] {
        let target = Target::paths(Some(level), None).expect("known").remove(0);
        let path = blkc::codegen::aot::Path { program: &program, target: &target, manifest: b"{}" };
        let assembly = blkc::codegen::aot::assembly(&[path]).expect("assembly");
        assert!(assembly.contains("vfmadd") && assembly.contains(register), "{level}:\n{assembly}");
    }
}
