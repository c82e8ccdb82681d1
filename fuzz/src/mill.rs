//! A small mill of inputs for ordinary tests: seeds, changed a little, always the same ones.

/// Feeds `run` with every seed and then with `rounds` changed ones.
pub fn feed(seeds: &[Vec<u8>], rounds: usize, run: impl Fn(&[u8])) {
    seeds.iter().for_each(|seed| run(seed));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        let mut bytes = seeds[dice.below(seeds.len())].clone();
        for _ in 0..=dice.below(8) {
            dice.change(&mut bytes, &seeds[dice.peek(seeds.len())]);
        }
        run(&bytes);
    }
}

/// Xorshift: no more is needed to be different.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.peek(bound)
    }

    fn peek(&self, bound: usize) -> usize {
        (self.0 >> 16) as usize % bound.max(1)
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        match self.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, self.below(256) as u8),
            2 => drop(bytes.splice(at..at, other[..self.below(other.len() + 1)].iter().copied())),
            3 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            4 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = self.below(256) as u8,
            _ => bytes.push(self.below(256) as u8),
        }
    }

    #[allow(dead_code)] // Not every test makes bytes from nothing.
    fn fill(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// So many inputs of this length with any bytes.
#[allow(dead_code)]
pub fn noise(count: usize, len: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    (0..count).map(|_| dice.fill(len)).collect()
}
