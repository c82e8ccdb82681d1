//! Messages of other versions: encoded ones with more fields than this build knows, or one fewer.
//!
//! A body is `[number of the variant, [fields]]`, the fields last. A new field has a number above all known ones, so what
//! lies between is null.

use minicbor::{Decoder, Encoder};
use tidegate_core::wire::{HEADER_LEN, LENGTH_LEN};

/// No message has as many fields.
const FIELDS_MAX: usize = 20;

/// The fields of a message, encoded one by one.
pub(super) type Fields = Vec<Vec<u8>>;

/// A frame with other fields.
pub(super) fn with_last_fields(frame: &[u8], change: impl FnOnce(&mut Fields)) -> Vec<u8> {
    let (header, body) = frame.split_at(LENGTH_LEN + HEADER_LEN);
    let Some((start, mut fields)) = fields_of(body) else { return frame.to_vec() };
    change(&mut fields);
    let mut count = Encoder::new(Vec::new());
    count.array(fields.len() as u64).expect("memory takes everything");
    let body = [&body[..start], &count.into_writer(), &fields.concat()].concat();
    let length = ((HEADER_LEN + body.len()) as u32).to_be_bytes();
    [&length[..], &header[LENGTH_LEN..], &body].concat()
}

/// Where the fields begin, and each of them. `None` where the body is of another shape.
fn fields_of(body: &[u8]) -> Option<(usize, Fields)> {
    let mut decoder = Decoder::new(body);
    decoder.array().ok()?;
    decoder.skip().ok()?;
    let start = decoder.position();
    let count = decoder.array().ok()??;
    let mut fields = Vec::new();
    for _ in 0..count {
        let from = decoder.position();
        decoder.skip().ok()?;
        fields.push(body[from..decoder.position()].to_vec());
    }
    (decoder.position() == body.len()).then_some((start, fields))
}

/// Three fields that nobody knows.
pub(super) fn add_unknown(fields: &mut Fields) {
    while fields.len() < FIELDS_MAX {
        fields.push(minicbor::to_vec(None::<u8>).expect("memory takes everything"));
    }
    let new = [minicbor::to_vec(7u8), minicbor::to_vec("from a later version"), minicbor::to_vec(true)];
    fields.extend(new.map(|field| field.expect("memory takes everything")));
}

/// The last field is missing.
pub(super) fn drop_last(fields: &mut Fields) {
    fields.pop();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::id::Role;
    use tidegate_core::wire::{Malformed, Message, decode_frame, encode_frame};

    #[test]
    fn a_later_message_is_read_and_one_without_a_field_is_not() {
        let pong = Message::Pong { token: 3, coordinate: None, condition: Default::default() };
        // What came with a later version has a value where it is missing.
        for (message, shorter) in
            [(Message::Ping { token: 3 }, Err(Malformed::Body)), (pong.clone(), Ok(pong.clone()))]
        {
            let mut frame = Vec::new();
            encode_frame(&message, &mut frame).expect("it fits");
            let read = |frame: &[u8]| match decode_frame(frame, Role::Gate, Role::Manager) {
                Ok(Some((taken, read))) if taken == frame.len() => read,
                other => panic!("{other:?}"),
            };
            let later = with_last_fields(&frame, add_unknown);
            assert!(later.len() > frame.len() + 20);
            assert_eq!(read(&later), Ok(message));
            assert_eq!(read(&with_last_fields(&frame, drop_last)), shorter);
        }
    }
}
