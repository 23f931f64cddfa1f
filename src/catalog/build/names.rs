//! Names within one namespace: each once, in snake_case, and no two that differ only by case.

use std::collections::BTreeMap;

use crate::catalog::definitions::Placed;
use crate::catalog::names::{reserved_mistake, snake_case_mistake};
use crate::document::Mistake;

/// The names of one namespace that are taken.
#[derive(Default)]
pub(super) struct Names {
    /// By lower-case name: the name, what has it, and where.
    taken: BTreeMap<String, (String, String, Mistake)>,
}

impl Names {
    /// Takes `name` for a thing (`noun`, such as "feature view"), whose name stands at `path`. False if it cannot be.
    pub(super) fn claim<T>(
        &mut self,
        noun: &str,
        name: &str,
        placed: &Placed<'_, T>,
        path: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> bool {
        let here = placed.mistake(path, "");
        let taken = self.taken.get(&name.to_lowercase());
        let wrong = match taken {
            Some((other, other_noun, at)) if other == name && other_noun == noun => {
                Some(format!("{noun} {name} is defined twice, first at {}:{}", at.file, at.line))
            }
            Some((other, other_noun, at)) if other == name => {
                Some(format!("{noun} {name} has the name of {other_noun} {other} ({}:{})", at.file, at.line))
            }
            Some((other, other_noun, at)) => {
                Some(format!("{noun} {name} differs from {other_noun} {other} ({}:{}) only by case", at.file, at.line))
            }
            None => snake_case_mistake(name).map(|wrong| format!("the name of {noun} {name} {wrong}")),
        };
        if taken.is_none() {
            self.taken.insert(name.to_lowercase(), (name.to_owned(), noun.to_owned(), here.clone()));
        }
        let wrong = wrong.map(|text| Mistake { text, ..here });
        let is_good = wrong.is_none();
        mistakes.extend(wrong);
        is_good
    }

    /// As [`Names::claim`], for what becomes a column.
    pub(super) fn claim_column<T>(
        &mut self,
        noun: &str,
        name: &str,
        placed: &Placed<'_, T>,
        path: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> bool {
        if let Some(wrong) = reserved_mistake(name) {
            mistakes.push(placed.mistake(path, format!("{noun} {name} {wrong}")));
            return false;
        }
        self.claim(noun, name, placed, path, mistakes)
    }
}
