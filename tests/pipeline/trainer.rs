//! scratch
use blkc::lower::{lower, Options};
use blkc::hessian::{Routine, program};
#[test]
fn scratch() {
    let text = std::fs::read_to_string("/tmp/tw-y.blk").unwrap();
    let network = crate::machine::network(&text, Some(4));
    let plan = program::derive(&network);
    let train = plan.routines.iter().find(|r| r.name == "train").unwrap().clone();
    for write in &train.writes {
        let mut one = plan.clone();
        one.routines = vec![Routine { name: "train", writes: vec![*write] }];
        if let Err(error) = lower(&one, &Options::default()) {
            println!("{}: {error}", plan.graph.symbol_info(write.symbol).name);
            let mut open = vec![write.value];
            let mut seen = std::collections::BTreeSet::new();
            while let Some(e) = open.pop() { if seen.insert(e) { open.extend(plan.graph.node(e).args()); } }
            for e in seen { println!("{e:?} {:?} : {:?}", plan.graph.axes_of(e), plan.graph.node(e)); }
            break;
        }
    }
    panic!();
}
