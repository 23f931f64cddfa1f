//! The custom sections of modules and components: what only a debugger reads is dropped, at every depth.
//!
//! Names of functions stay where they are small, because a trap's message is made of them. Everything that is not a
//! custom section is copied as it is, so nothing that runs can change.

use crate::limits::PLUGIN_NAMES_BYTES_MAX;

const PREAMBLE_BYTES: usize = 8;
const CUSTOM: u8 = 0;
/// Within a component: a core module, and a component.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;
/// The preamble of a component; a core module has version 1 and layer 0.
const IS_COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// One section: its number and its content.
struct Section<'a> {
    id: u8,
    content: &'a [u8],
}

/// The module or component without debug information. Bytes that are neither come back as they are: whoever reads
/// them next says what is wrong with them.
pub fn strip(binary: &[u8]) -> Vec<u8> {
    stripped(binary).unwrap_or_else(|| binary.to_vec())
}

/// Whether there is a custom section, at the top, whose name is `wanted`.
pub fn has_custom(binary: &[u8], wanted: impl Fn(&str) -> bool) -> bool {
    let found = sections(binary).map(|sections| {
        sections
            .iter()
            .filter(|section| section.id == CUSTOM)
            .any(|section| custom_name(section.content).is_some_and(&wanted))
    });
    found.unwrap_or(false)
}

fn stripped(binary: &[u8]) -> Option<Vec<u8>> {
    let mut kept = binary.get(..PREAMBLE_BYTES)?.to_vec();
    let is_component = &kept[4..] == IS_COMPONENT;
    for Section { id, content } in sections(binary)? {
        match id {
            CUSTOM if is_dropped(content) => {}
            CORE_MODULE | COMPONENT if is_component => push(&mut kept, id, &stripped(content)?),
            _ => push(&mut kept, id, content),
        }
    }
    Some(kept)
}

fn is_dropped(content: &[u8]) -> bool {
    match custom_name(content) {
        Some("name" | "component-name") => content.len() > PLUGIN_NAMES_BYTES_MAX,
        Some("sourceMappingURL" | "external_debug_info" | "build_id" | "linking") => true,
        Some(name) => name.starts_with(".debug") || name.starts_with("reloc."),
        None => false,
    }
}

fn custom_name(content: &[u8]) -> Option<&str> {
    let (length, start) = read_u32(content, 0)?;
    std::str::from_utf8(content.get(start..start.checked_add(length)?)?).ok()
}

fn sections(binary: &[u8]) -> Option<Vec<Section<'_>>> {
    if !binary.starts_with(b"\0asm") {
        return None;
    }
    let (mut sections, mut at) = (Vec::new(), PREAMBLE_BYTES);
    while at < binary.len() {
        let (length, start) = read_u32(binary, at + 1)?;
        let end = start.checked_add(length)?;
        sections.push(Section { id: binary[at], content: binary.get(start..end)? });
        at = end;
    }
    Some(sections)
}

fn push(binary: &mut Vec<u8>, id: u8, content: &[u8]) {
    binary.push(id);
    let mut length = content.len();
    while length >= 0x80 {
        binary.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    binary.push(length as u8);
    binary.extend_from_slice(content);
}

/// The LEB128 number at `at`, and where it ends.
fn read_u32(binary: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (position, byte) in binary.get(at..)?.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, at + position + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{has_custom, push, strip};

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn with(start: &[u8], sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut binary = start.to_vec();
        sections.iter().for_each(|(id, content)| push(&mut binary, *id, content));
        binary
    }

    #[test]
    fn debug_information_goes_at_every_depth_and_small_names_stay() {
        let dwarf: (u8, &[u8]) = (0, b"\x0b.debug_infoabc");
        let names: (u8, &[u8]) = (0, b"\x04nameabc");
        let types: (u8, &[u8]) = (1, &[0; 300]);
        let inner = with(MODULE, &[types, dwarf, names]);
        let lean = with(MODULE, &[types, names]);
        let outer = with(COMPONENT, &[dwarf, (1, &inner), (4, &with(COMPONENT, &[(1, &inner), dwarf]))]);
        let expected = with(COMPONENT, &[(1, &lean), (4, &with(COMPONENT, &[(1, &lean)]))]);
        assert_eq!(strip(&outer), expected);
        assert_eq!(strip(&expected), expected);
    }

    #[test]
    fn large_names_go_and_what_is_cut_short_stays_as_it_is() {
        let large = [b"\x04name".as_slice(), &vec![0; crate::limits::PLUGIN_NAMES_BYTES_MAX]].concat();
        let module = with(MODULE, &[(0, &large), (1, b"x")]);
        assert_eq!(strip(&module), with(MODULE, &[(1, b"x")]));
        for end in 9..module.len() {
            assert_eq!(strip(&module[..end]).first(), Some(&0), "{end}");
        }
        assert_eq!(strip(b"text"), b"text");
    }

    #[test]
    fn custom_sections_are_found_by_name() {
        let module = with(MODULE, &[(1, b"x"), (0, b"\x05a-one")]);
        assert!(has_custom(&module, |name| name == "a-one"));
        assert!(!has_custom(&module, |name| name == "another"));
        assert!(!has_custom(b"text", |_| true));
    }
}
