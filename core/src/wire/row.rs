//! Rows on disk: a format number, then the value.
//!
//! A row of a newer format is refused, never guessed at: a node that was started by an older build must not damage
//! what a newer one wrote. Rows of the same format may have fields that this build does not know; they are skipped.

use alloc::vec::Vec;

use super::frame::append_cbor;
use crate::ledger::BadRow;

/// The row's bytes: `format`, then the value.
pub fn encode_row<T: minicbor::Encode<()>>(format: u8, value: &T) -> Vec<u8> {
    let mut bytes = alloc::vec![format];
    append_cbor(value, &mut bytes);
    bytes
}

/// The value of a row whose format is at most `newest`. Rows are our own: unlike a message, a row may be large.
pub fn decode_row<'b, T: minicbor::Decode<'b, ()>>(newest: u8, bytes: &'b [u8]) -> Result<T, BadRow> {
    let (&format, body) = bytes.split_first().ok_or(BadRow)?;
    let mut decoder = minicbor::Decoder::new(body);
    let value = decoder.decode().map_err(|_| BadRow)?;
    if format <= newest && decoder.position() == body.len() { Ok(value) } else { Err(BadRow) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_by_its_own_format_and_later_ones() {
        let row = encode_row(2, &77u32);
        assert_eq!(decode_row::<u32>(2, &row), Ok(77));
        assert_eq!(decode_row::<u32>(3, &row), Ok(77));
        assert_eq!(decode_row::<u32>(1, &row), Err(BadRow), "newer than this build");
        assert_eq!(decode_row::<u32>(2, &row[..1]), Err(BadRow));
        assert_eq!(decode_row::<u32>(2, &[]), Err(BadRow));
        assert_eq!(decode_row::<u32>(2, &[2, 0, 0]), Err(BadRow), "something after the value");
    }
}
