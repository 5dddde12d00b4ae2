//! Custom sections of a WASM component: what somebody wrote into it beside its code.
//! <https://webassembly.github.io/spec/core/binary/modules.html#custom-section>

/// Magic number, version and layer.
const HEADER: usize = 8;

/// The content of the first custom section called `name`, at the outermost level.
/// `None` too where the bytes make no sense up to there.
#[must_use]
pub fn custom_section<'c>(component: &'c [u8], name: &str) -> Option<&'c [u8]> {
    sections(component).find_map(|section| section.custom(name))
}

/// `component` with `content` as its only custom section called `name`. What makes
/// no sense as a component is only appended to.
#[must_use]
pub fn with_custom_section(component: &[u8], name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = component.get(..HEADER).unwrap_or(component).to_vec();
    let mut seen = HEADER;
    for section in sections(component) {
        if section.custom(name).is_none() {
            out.extend_from_slice(section.whole);
        }
        seen += section.whole.len();
    }
    out.extend_from_slice(component.get(seen..).unwrap_or_default());
    let mut inner = Vec::new();
    write_length(name.len(), &mut inner);
    inner.extend_from_slice(name.as_bytes());
    inner.extend_from_slice(content);
    out.push(0);
    write_length(inner.len(), &mut out);
    out.extend_from_slice(&inner);
    out
}

struct Section<'c> {
    id: u8,
    content: &'c [u8],
    whole: &'c [u8],
}

impl<'c> Section<'c> {
    fn custom(&self, name: &str) -> Option<&'c [u8]> {
        if self.id != 0 {
            return None;
        }
        let (length, rest) = read_length(self.content)?;
        let (found, content) = rest.split_at_checked(length)?;
        (found == name.as_bytes()).then_some(content)
    }
}

fn sections(component: &[u8]) -> impl Iterator<Item = Section<'_>> {
    let mut rest = component.get(HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (id, after) = rest.split_first()?;
        let (length, after) = read_length(after)?;
        let (content, after) = after.split_at_checked(length)?;
        let whole = rest.get(..rest.len() - after.len())?;
        rest = after;
        Some(Section { id: *id, content, whole })
    })
}

/// LEB128, at most 32 bits.
fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for at in 0..5 {
        let byte = *bytes.get(at)?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((usize::try_from(value).ok()?, bytes.get(at + 1..)?));
        }
    }
    None
}

fn write_length(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn what_was_put_in_is_found_and_replaced() {
        let long = vec![7; 300];
        let one = with_custom_section(EMPTY, "other", b"kept");
        let two = with_custom_section(&one, "mine", &long);
        assert_eq!(custom_section(&two, "mine"), Some(&long[..]));
        let three = with_custom_section(&two, "mine", b"new");
        assert_eq!(custom_section(&three, "mine"), Some(&b"new"[..]));
        assert_eq!(custom_section(&three, "other"), Some(&b"kept"[..]));
        assert_eq!(three.len(), one.len() + 10, "the old one is gone");
        assert_eq!(custom_section(&three, "none"), None);
    }

    #[test]
    fn nonsense_has_no_sections() {
        for bytes in [
            &b""[..],
            b"\0asm",
            EMPTY,
            b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\xff\xff",
            b"\0asm\x0d\0\x01\0\0\x05ab",
        ] {
            assert_eq!(custom_section(bytes, "x"), None);
        }
    }
}
