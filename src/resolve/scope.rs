//! The table of items: which file defines what, and which names a file sees.

use std::collections::{HashMap, HashSet};

use super::hir::ItemId;
use super::load::{Module, Program};
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::{FileId, Span};
use crate::syntax::ast::{self, ItemKind, Name, Network};

/// What may be said of an item before its body is resolved.
pub struct Entry<'a> {
    pub ast: &'a ast::Item,
    pub name: &'a Name,
    pub module: usize,
}

pub struct Table<'a> {
    pub entries: Vec<Entry<'a>>,
    /// Own names of each module.
    own: Vec<HashMap<&'a str, ItemId>>,
    /// Names of each module's `use`d files.
    used: Vec<HashMap<&'a str, ItemId>>,
    prelude: HashMap<&'a str, ItemId>,
    /// Names of items that did not parse.
    lost: HashSet<&'a str>,
}

impl<'a> Table<'a> {
    pub fn new(program: &'a Program, diagnostics: &mut Diagnostics) -> Self {
        let mut table = Table {
            entries: Vec::new(),
            own: Vec::new(),
            used: Vec::new(),
            prelude: HashMap::new(),
            lost: lost_names(program),
        };
        for (index, module) in program.modules.iter().enumerate() {
            table.add_module(index, module, diagnostics);
        }
        let position: HashMap<FileId, usize> =
            program.modules.iter().enumerate().map(|(index, module)| (module.file, index)).collect();
        for file in &program.prelude {
            let names = table.own[position[file]].clone();
            table.prelude.extend(names);
        }
        for module in &program.modules {
            let used = table.used_names(module, &position, diagnostics);
            table.used.push(used);
        }
        table
    }

    fn add_module(&mut self, module: usize, content: &'a Module, diagnostics: &mut Diagnostics) {
        let mut own: HashMap<&'a str, ItemId> = HashMap::new();
        for item in &content.ast.items {
            let Some(name) = name_of(item) else { continue };
            let id = ItemId(self.entries.len() as u32);
            self.entries.push(Entry { ast: item, name, module });
            if let Some(first) = own.get(name.text.as_str()) {
                let first = self.entries[first.0 as usize].name.span;
                diagnostics.push(
                    Diagnostic::error(
                        "N002",
                        name.span,
                        format!("`{}` is defined twice in this file", name.text),
                    )
                    .at("defined again here")
                    .label(first, "first defined here"),
                );
            } else {
                own.insert(&name.text, id);
            }
        }
        self.own.push(own);
    }

    fn used_names(
        &self,
        module: &Module,
        position: &HashMap<FileId, usize>,
        diagnostics: &mut Diagnostics,
    ) -> HashMap<&'a str, ItemId> {
        let mut names: HashMap<&'a str, (ItemId, Span)> = HashMap::new();
        for (file, span) in &module.uses {
            let mut found: Vec<(&&'a str, &ItemId)> = self.own[position[file]].iter().collect();
            found.sort();
            for (&name, &id) in found {
                match names.insert(name, (id, *span)) {
                    Some((other, first)) if other != id => diagnostics.push(
                        Diagnostic::error("N002", *span, format!("two used files define `{name}`"))
                            .label(first, "the other one is used here"),
                    ),
                    _ => {}
                }
            }
        }
        names.into_iter().map(|(name, (id, _))| (name, id)).collect()
    }

    /// What `name` stands for in a module: its own items, those of the files it uses, the common library.
    pub fn find(&self, module: usize, name: &str) -> Option<ItemId> {
        self.own[module]
            .get(name)
            .or_else(|| self.used[module].get(name))
            .or_else(|| self.prelude.get(name))
            .copied()
    }

    /// All item names that a module sees.
    pub fn visible(&self, module: usize) -> impl Iterator<Item = &'a str> {
        self.own[module].keys().chain(self.used[module].keys()).chain(self.prelude.keys()).copied()
    }

    /// An item of this name stands in a file but did not parse, so that using it is no further error.
    pub fn is_lost(&self, name: &str) -> bool {
        self.lost.contains(name)
    }
}

fn lost_names(program: &Program) -> HashSet<&str> {
    program.modules.iter().flat_map(|module| &module.ast.broken).map(|name| name.text.as_str()).collect()
}

fn name_of(item: &ast::Item) -> Option<&Name> {
    Some(match &item.kind {
        ItemKind::Use(_) | ItemKind::Train(_) => return None,
        ItemKind::Network(Network::Definition { name, .. } | Network::Alias { name, .. }) => name,
        ItemKind::Op(op) => &op.name,
        ItemKind::Fn(function) => &function.name,
        ItemKind::Loss(loss) => &loss.name,
        ItemKind::Optimizer(optimizer) => &optimizer.name,
        ItemKind::Schedule(schedule) => &schedule.name,
        ItemKind::Init(init) => &init.name,
    })
}
