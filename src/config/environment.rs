//! `${NAME}` in a value stands for an environment variable.

/// `text` with every `${NAME}` replaced and every `$$` a dollar sign.
pub(super) fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        expanded.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(named) = after.strip_prefix('{') {
            let Some((name, after)) = named.split_once('}') else {
                return Err(
                    "a ${ has no }; write ${NAME} for an environment variable, or $$ for a dollar sign".to_owned()
                );
            };
            if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
                return Err(format!("${{{name}}} does not name an environment variable"));
            }
            let Some(value) = environment(name) else {
                return Err(format!("the environment variable {name} is not set"));
            };
            expanded.push_str(&value);
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}
