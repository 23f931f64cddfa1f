//! What things may be called.
//!
//! Names are snake_case: they become columns, SQL tables, URL parts and metric labels. A few names of columns are
//! reserved, because rows carry a column of that name already on their way through the gateway: the times of a scan
//! (`event_time`, `created_time`), the time of a label (`event_timestamp`), the time asked about (`as_of`), and
//! everything that begins with `lockstep_`.

use crate::limits;

const RESERVED_COLUMNS: [&str; 4] = ["event_time", "created_time", "event_timestamp", "as_of"];
const RESERVED_PREFIX: &str = "lockstep_";

/// What is wrong with a name, as the end of a sentence that begins with the thing and its name.
pub fn snake_case_mistake(name: &str) -> Option<String> {
    if name.len() > limits::NAME_BYTES_MAX {
        return Some(format!("is longer than {} bytes", limits::NAME_BYTES_MAX));
    }
    let begins = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    let rest = name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if begins && rest {
        return None;
    }
    let wanted = snake_case(name);
    let way_out = if wanted.is_empty() { String::new() } else { format!("; write {wanted}") };
    Some(format!("must be snake_case (a–z, 0–9 and _, a letter first){way_out}"))
}

/// What is wrong with the name of a feature, join key or request field, beyond the name itself.
pub(super) fn reserved_mistake(name: &str) -> Option<String> {
    if RESERVED_COLUMNS.contains(&name) {
        return Some("has a reserved name, rows carry a column of that name already; name it otherwise".to_owned());
    }
    if name.starts_with(RESERVED_PREFIX) {
        return Some(format!("has a reserved name, {RESERVED_PREFIX}… is ours; name it otherwise"));
    }
    None
}

/// The nearest name that is allowed; empty if there is none worth proposing.
fn snake_case(name: &str) -> String {
    if !name.is_ascii() {
        return String::new();
    }
    let mut snake = String::new();
    let mut before_was_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() {
            if letter.is_ascii_uppercase() && before_was_lower {
                snake.push('_');
            }
            before_was_lower = letter.is_ascii_lowercase() || letter.is_ascii_digit();
            snake.push(letter.to_ascii_lowercase());
        } else if !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
            before_was_lower = false;
        }
    }
    snake.trim_matches('_').trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '_').to_owned()
}
