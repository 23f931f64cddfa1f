//! Derived views in an order in which each comes after those it reads; those that read themselves are told.

use std::collections::{BTreeMap, BTreeSet};

/// The order, and the circles in which there is none.
pub(super) struct Order<'a> {
    /// Names with how many derived views stand under each, itself included.
    pub ordered: Vec<(&'a str, usize)>,
    /// Each from its smallest name on, back to it.
    pub circles: Vec<Vec<&'a str>>,
    /// What is in a circle or reads something that is.
    pub unordered: BTreeSet<&'a str>,
}

/// `reads` has for each view the views it reads; those that are no keys themselves count as there.
pub(super) fn order<'a>(reads: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Order<'a> {
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    let mut readers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (view, read) in reads {
        let read = read.iter().filter(|name| reads.contains_key(*name));
        waiting.insert(view, read.clone().count());
        read.for_each(|name| readers.entry(name).or_default().push(view));
    }
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ready: Vec<&str> = waiting.iter().filter(|(_, count)| **count == 0).map(|(view, _)| *view).collect();
    let mut ordered = Vec::new();
    while let Some(view) = ready.pop() {
        let depth = depths.get(view).copied().unwrap_or(0) + 1;
        ordered.push((view, depth));
        for reader in readers.get(view).into_iter().flatten() {
            let deepest = depths.entry(reader).or_default();
            *deepest = depth.max(*deepest);
            if let Some(count) = waiting.get_mut(reader) {
                *count -= 1;
                if *count == 0 {
                    ready.push(reader);
                }
            }
        }
    }
    let unordered: BTreeSet<&str> = waiting.iter().filter(|(_, count)| **count > 0).map(|(view, _)| *view).collect();
    Order { ordered, circles: circles(reads, &unordered), unordered }
}

/// Everything unordered reads something unordered, so following that leads into a circle.
fn circles<'a>(reads: &BTreeMap<&'a str, BTreeSet<&'a str>>, unordered: &BTreeSet<&'a str>) -> Vec<Vec<&'a str>> {
    let mut circles = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for start in unordered {
        let mut way: Vec<&str> = Vec::new();
        let mut at = *start;
        while seen.insert(at) {
            way.push(at);
            let next = reads.get(at).and_then(|read| read.iter().find(|name| unordered.contains(*name)));
            let Some(next) = next else { break };
            at = next;
        }
        if let Some(begin) = way.iter().position(|view| *view == at) {
            let mut circle = way.split_off(begin);
            let smallest = circle.iter().enumerate().min_by_key(|(_, view)| **view).map_or(0, |(index, _)| index);
            circle.rotate_left(smallest);
            circle.push(circle[0]);
            circles.push(circle);
        }
    }
    circles
}
