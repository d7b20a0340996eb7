//! Weights per item, added up: what every part of the mixture works with. A few hundred of many thousand items ever have one, so
//! it is a map; its hasher is one multiplication, because the keys are our own numbers and nobody outside can choose them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::names::Id;

#[derive(Clone, Copy, Debug, Default)]
pub struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // The odd number next to 2^64 divided by the golden ratio; the upper bits, which the map looks at, depend on all lower ones.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub type Fast<K, V> = HashMap<K, V, BuildHasherDefault<Multiply>>;

#[derive(Clone, Debug, Default)]
pub struct Sums(pub Fast<Id, f32>);

impl Sums {
    pub fn add(&mut self, item: Id, weight: f32) {
        *self.0.entry(item).or_default() += weight;
    }

    /// Makes the weights shares of one, without `left_out`.
    pub fn shares(mut self, left_out: impl Fn(Id) -> bool) -> Self {
        self.0.retain(|item, _| !left_out(*item));
        // Summed in the order of the items: a sum of floats depends on its order, and an answer must not depend on a hash table.
        let mut weights: Vec<(Id, f32)> = self.0.iter().map(|(item, weight)| (*item, *weight)).collect();
        weights.sort_unstable_by_key(|(item, _)| *item);
        let whole: f32 = weights.iter().map(|(_, weight)| weight).sum();
        if whole > 0.0 {
            self.0.values_mut().for_each(|weight| *weight /= whole);
        }
        self
    }

    /// The `count` heaviest, heaviest first; equals by number.
    pub fn heaviest(&self, count: usize) -> Vec<(Id, f32)> {
        let mut all: Vec<(Id, f32)> = self.0.iter().map(|(item, weight)| (*item, *weight)).collect();
        let order = |one: &(Id, f32), two: &(Id, f32)| two.1.total_cmp(&one.1).then(one.0.cmp(&two.0));
        if all.len() > count && count > 0 {
            all.select_nth_unstable_by(count - 1, order);
            all.truncate(count);
        }
        all.sort_unstable_by(order);
        all.truncate(count);
        all
    }
}
