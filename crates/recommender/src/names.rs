//! Names of items as small numbers, so that an index of visits holds four bytes per step. A number whose item is in no visit any
//! more is given to the next new item: names are bounded by what the visits hold.

use std::collections::HashMap;

/// A number that stands for an item as long as some visit holds it.
pub type Id = u32;

#[derive(Clone, Debug, Default)]
pub struct Names {
    numbers: HashMap<Box<str>, Id>,
    names: Vec<Box<str>>,
    free: Vec<Id>,
}

impl Names {
    pub fn find(&self, name: &str) -> Option<Id> {
        self.numbers.get(name).copied()
    }

    pub fn name(&self, id: Id) -> &str {
        &self.names[id as usize]
    }

    /// The number of `name`, a new one if it has none.
    pub fn give(&mut self, name: &str) -> Id {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = self.free.pop().unwrap_or(self.names.len() as Id);
        if id as usize == self.names.len() {
            self.names.push(name.into());
        } else {
            self.names[id as usize] = name.into();
        }
        self.numbers.insert(name.into(), id);
        id
    }

    pub fn take_back(&mut self, id: Id) {
        let name = std::mem::take(&mut self.names[id as usize]);
        if self.numbers.remove(&name).is_some() {
            self.free.push(id);
        }
    }

    /// How many names are in use.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Numbers ever given; what is indexed by them needs this many places.
    pub fn places(&self) -> usize {
        self.names.len()
    }
}
