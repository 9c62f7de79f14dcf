//! Walks over the parts of statements.

use super::{Affine, BufferId, Inst, Scalars, Stmt};

impl Stmt {
    /// Calls `visit` with every scalar program, in order.
    pub fn for_scalars(&mut self, visit: &mut impl FnMut(&mut Scalars)) {
        match self {
            Stmt::Nest(nest) => {
                visit(&mut nest.body);
                visit(&mut nest.finish);
            }
            Stmt::Gemm(gemm) => visit(&mut gemm.epilogue),
            Stmt::Orthonormalize { .. } => {}
        }
    }

    /// Calls `visit` with every mention of a buffer, in order.
    pub fn for_buffers(&mut self, visit: &mut impl FnMut(&mut BufferId)) {
        match self {
            Stmt::Nest(_) => {}
            Stmt::Gemm(gemm) => {
                visit(&mut gemm.a.buffer);
                visit(&mut gemm.b.buffer);
            }
            Stmt::Orthonormalize { buffer, .. } => visit(buffer),
        }
        self.for_scalars(&mut |scalars| {
            for inst in &mut scalars.insts {
                if let Inst::Load(buffer, _) = inst {
                    visit(buffer);
                }
            }
            scalars.stores.iter_mut().for_each(|store| visit(&mut store.buffer));
        });
    }

    /// Calls `visit` with every buffer that the statement touches, as often as it is mentioned.
    pub fn buffers(&self, visit: &mut impl FnMut(BufferId)) {
        match self {
            Stmt::Nest(nest) => {
                nest.body.buffers(visit);
                nest.finish.buffers(visit);
            }
            Stmt::Gemm(gemm) => {
                visit(gemm.a.buffer);
                visit(gemm.b.buffer);
                gemm.epilogue.buffers(visit);
            }
            Stmt::Orthonormalize { buffer, .. } => visit(*buffer),
        }
    }
}

impl Scalars {
    /// What it loads, and where, in order.
    pub fn loads(&self) -> impl Iterator<Item = (BufferId, &Affine)> {
        self.insts.iter().filter_map(|inst| match inst {
            Inst::Load(buffer, index) => Some((*buffer, index)),
            _ => None,
        })
    }

    fn buffers(&self, visit: &mut impl FnMut(BufferId)) {
        self.loads().for_each(|load| visit(load.0));
        self.stores.iter().for_each(|store| visit(store.buffer));
    }
}
