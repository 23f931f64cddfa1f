//! Versions of a view, each a view of its own: `company_stats` is the first, `company_stats@v2` the second.
//!
//! The whole name is what a view is called everywhere: in services, questions, columns, stores and metrics. So versions
//! live side by side without anything knowing of versions, and a view that has only one is called as it always was.
//!
//! # Why the plain name is the first version and not the newest
//! Whoever asks for `company_stats` was promised its values when he wrote that down. Defining a second version must not
//! change them; `company_stats@latest` is for those who want it to.

/// What a name ends with for which any version will do, as long as it is the newest.
const LATEST: &str = "@latest";

/// The name of a view's version.
pub fn versioned_name(name: &str, version: u32) -> String {
    if version > 1 { format!("{name}@v{version}") } else { name.to_owned() }
}

/// The name without its version, and the version.
pub fn split_version(name: &str) -> (&str, u32) {
    match name.split_once("@v").map(|(plain, number)| (plain, version_number(number))) {
        Some((plain, Some(version))) => (plain, version),
        _ => (name, 1),
    }
}

/// The name under which the view is defined: `company_stats@v1` is `company_stats`.
pub fn defined_name(name: &str) -> &str {
    match split_version(name) {
        (plain, 1) => plain,
        _ => name,
    }
}

/// The name before `@latest`, if it ends so.
pub fn latest_of(name: &str) -> Option<&str> {
    name.strip_suffix(LATEST)
}

/// A number as we would write it: no sign, no zeros in front.
pub(super) fn version_number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_version() {
        for (name, plain, version) in [
            ("company_stats", "company_stats", 1),
            ("company_stats@v1", "company_stats", 1),
            ("company_stats@v2", "company_stats", 2),
            ("company_stats@v10", "company_stats", 10),
            ("company_stats@v02", "company_stats@v02", 1),
            ("company_stats@v", "company_stats@v", 1),
            ("company_stats@v+2", "company_stats@v+2", 1),
            ("company_stats@2", "company_stats@2", 1),
            ("company_v2", "company_v2", 1),
        ] {
            assert_eq!(split_version(name), (plain, version));
        }
        assert_eq!(versioned_name("company_stats", 1), "company_stats");
        assert_eq!(versioned_name("company_stats", 2), "company_stats@v2");
        assert_eq!(defined_name("company_stats@v1"), "company_stats");
        assert_eq!(defined_name("company_stats@v2"), "company_stats@v2");
    }
}
