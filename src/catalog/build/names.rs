//! Names within one namespace: each once, in snake_case, and no two that differ only by case.

use std::collections::BTreeMap;

use crate::catalog::definitions::Placed;
use crate::catalog::names::{reserved_mistake, snake_case_mistake};
use crate::catalog::split_version;
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
        self.take((noun, name), snake_case_mistake(name), placed, path, mistakes)
    }

    /// As [`Names::claim`], for a view with this `version` written beside its name.
    pub(super) fn claim_view<T>(
        &mut self,
        noun: &str,
        name: &str,
        version: Option<u32>,
        placed: &Placed<'_, T>,
        mistakes: &mut Vec<Mistake>,
    ) -> bool {
        let wrong = match split_version(name) {
            (plain, number) if number > 1 && version.is_none() => {
                Some(format!("has a version in it; write name: {plain} and version: {number}"))
            }
            (plain, _) => snake_case_mistake(plain),
        };
        self.take((noun, name), wrong, placed, "/name", mistakes)
    }

    /// Takes a name that is not right in itself if something is `wrong` with it.
    fn take<T>(
        &mut self,
        (noun, name): (&str, &str),
        wrong: Option<String>,
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
            None => wrong.map(|wrong| format!("the name of {noun} {name} {wrong}")),
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
