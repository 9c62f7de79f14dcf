//! Paths of parameters (`h1.residual.phi.conv[1].W`): a tree of scopes whose segments get an index where siblings
//! share a name. Which do is known only at the end.

use std::collections::HashMap;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scope(u32);

struct Entry {
    parent: Option<Scope>,
    name: String,
    /// Position among the siblings of the same name.
    index: usize,
}

#[derive(Default)]
pub struct Paths {
    entries: Vec<Entry>,
    counts: HashMap<(Option<Scope>, String), usize>,
}

impl Paths {
    /// A new scope under `parent` (none: a block).
    pub fn enter(&mut self, parent: Option<Scope>, name: &str) -> Scope {
        let count = self.counts.entry((parent, name.into())).or_insert(0);
        self.entries.push(Entry { parent, name: name.into(), index: *count });
        *count += 1;
        Scope(self.entries.len() as u32 - 1)
    }

    /// The path of a scope; final once all scopes were entered.
    pub fn path(&self, scope: Scope) -> String {
        let entry = &self.entries[scope.0 as usize];
        let repeated = self.counts.get(&(entry.parent, entry.name.clone())).is_some_and(|&count| count > 1);
        let segment = if repeated { format!("{}[{}]", entry.name, entry.index) } else { entry.name.clone() };
        match entry.parent {
            Some(parent) => format!("{}.{segment}", self.path(parent)),
            None => segment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Paths;

    #[test]
    fn only_repeated_names_get_an_index() {
        let mut paths = Paths::default();
        let block = paths.enter(None, "h1");
        let first = paths.enter(Some(block), "conv");
        let second = paths.enter(Some(block), "conv");
        let other = paths.enter(Some(block), "norm");
        assert_eq!(paths.path(first), "h1.conv[0]");
        assert_eq!(paths.path(second), "h1.conv[1]");
        assert_eq!(paths.path(other), "h1.norm");
    }
}
