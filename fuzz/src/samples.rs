//! Samples of everything on the wire: the golden vectors of the codec.

/// Name and bytes of every sample; datagrams are named `datagram`.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let lines = include_str!("../../core/src/wire/golden.txt").lines();
    lines
        .map(|line| line.split_once(' ').expect("a name and bytes"))
        .map(|(name, hex)| (name, bytes(hex)))
        .collect()
}

/// The frames alone, without length and header: their kind's number and body.
pub fn bodies() -> Vec<(u16, Vec<u8>)> {
    let frames = all().into_iter().filter(|(name, _)| name.starts_with(char::is_uppercase));
    frames.map(|(_, frame)| (u16::from_be_bytes([frame[6], frame[7]]), frame[10..].to_vec())).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("hexadecimal digits") as u8;
    hex.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
