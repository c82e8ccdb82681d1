//! The shape of an encoded body, checked before anything is allocated for it.
//!
//! Takes the bytes of one CBOR value and passes over them once, without memory of its own but a small stack. It never
//! looks at what the values mean.
//!
//! Why decoding is then bounded: a body has at most [`MAX_ITEMS`] items, lists are always of a stated length, and no
//! decoder reserves memory by a stated length. The largest element that one item can stand for has 24 bytes in memory
//! (a datacenter's name), a list may hold three times its elements while it grows, and byte strings (a sketch: 16
//! bytes for each 2) take at most 24 times their length. So decoding N bytes never holds more than 24 N bytes and
//! 5 MiB, and takes time linear in N.

use super::Malformed;

/// Most items (numbers, strings, lists) in one body. The largest honest body, a final of 256 workflows with 32 kinds
/// of errors each, has under 40,000.
pub const MAX_ITEMS: usize = 65_536;
/// Deepest nesting of lists. The deepest honest body has 9.
pub const MAX_DEPTH: usize = 16;

/// Checks the shape of `bytes`: one value and nothing after it, no list of unstated length, no map, tag or float,
/// since no message has one.
pub fn skim(bytes: &[u8]) -> Result<(), Malformed> {
    let mut at = 0;
    let mut open = [0u64; MAX_DEPTH];
    let mut depth = 0;
    for _ in 0..MAX_ITEMS {
        let (major, argument) = head(bytes, &mut at)?;
        match major {
            0 | 1 => {}
            2 | 3 => at = end_of_string(bytes, at, argument)?,
            4 if argument > 0 => {
                // Every item has at least one byte: a longer list cannot be whole.
                if depth == MAX_DEPTH || argument > (bytes.len() - at) as u64 {
                    return Err(Malformed::Body);
                }
                open[depth] = argument;
                depth += 1;
                continue;
            }
            4 => {}
            // false, true, null
            7 if (20..=22).contains(&argument) => {}
            _ => return Err(Malformed::Body),
        }
        while depth > 0 {
            open[depth - 1] -= 1;
            if open[depth - 1] > 0 {
                break;
            }
            depth -= 1;
        }
        if depth == 0 {
            return if at == bytes.len() { Ok(()) } else { Err(Malformed::Body) };
        }
    }
    Err(Malformed::Bounds)
}

/// Reads an item's head: its major type and its argument.
fn head(bytes: &[u8], at: &mut usize) -> Result<(u8, u64), Malformed> {
    let first = *bytes.get(*at).ok_or(Malformed::Body)?;
    *at += 1;
    let (major, short) = (first >> 5, first & 0x1f);
    let width = match short {
        0..=23 => return Ok((major, u64::from(short))),
        // What follows a simple value's head would be a float, or a number that no message has.
        24..=27 if major != 7 => 1 << (short - 24),
        _ => return Err(Malformed::Body),
    };
    let tail = bytes.get(*at..*at + width).ok_or(Malformed::Body)?;
    *at += width;
    Ok((major, tail.iter().fold(0, |argument, &byte| argument << 8 | u64::from(byte))))
}

fn end_of_string(bytes: &[u8], at: usize, len: u64) -> Result<usize, Malformed> {
    if len > (bytes.len() - at) as u64 { Err(Malformed::Body) } else { Ok(at + len as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn one_whole_value_passes() {
        for good in
            [&[0x00][..], &[0x80], &[0x82, 0x01, 0x81, 0xf6], &[0x43, 1, 2, 3], &[0x62, b'o', b'k'], &[0xf5]]
        {
            assert_eq!(skim(good), Ok(()), "{good:x?}");
        }
    }

    #[test]
    fn everything_else_does_not() {
        let cases: [(&str, &[u8]); 11] = [
            ("nothing", &[]),
            ("two values", &[0x00, 0x00]),
            ("a short list", &[0x82, 0x00]),
            ("a list longer than the bytes", &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            ("a list of unstated length", &[0x9f, 0xff]),
            ("a string of unstated length", &[0x5f, 0x41, 0x00, 0xff]),
            ("a string longer than the bytes", &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            ("a map", &[0xa1, 0x00, 0x00]),
            ("a tag", &[0xc1, 0x00]),
            ("a float", &[0xfb, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("a cut head", &[0x19, 0x01]),
        ];
        for (what, bytes) in cases {
            assert_eq!(skim(bytes), Err(Malformed::Body), "{what}");
        }
    }

    #[test]
    fn depth_and_items_are_bounded() {
        let nested = |depth: usize| {
            let mut bytes = vec![0x81; depth];
            bytes.push(0x00);
            bytes
        };
        assert_eq!(skim(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(skim(&nested(MAX_DEPTH + 1)), Err(Malformed::Body));

        let list = |items: usize| {
            let mut bytes: Vec<u8> = vec![0x9a];
            bytes.extend((items as u32).to_be_bytes());
            bytes.resize(bytes.len() + items, 0);
            bytes
        };
        assert_eq!(skim(&list(MAX_ITEMS - 1)), Ok(()));
        assert_eq!(skim(&list(MAX_ITEMS)), Err(Malformed::Bounds));
    }
}
