//! Parts of a whole, for machines that divide it: `--shard 0/4` to `--shard 3/4`.

/// Part `i` of `n`, from 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shard {
    index: u64,
    count: u64,
}

impl std::str::FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err("write i/n with i from 0 to n - 1, as in 0/4".into()),
        }
    }
}

impl Shard {
    /// Whether the n-th of all falls to this part.
    pub const fn has(self, n: u64) -> bool {
        n % self.count == self.index
    }

    /// The seeds of a part, or all of them: so many, from the first.
    pub fn seeds(shard: Option<Self>, first: u64, count: u64) -> Vec<u64> {
        let falls_here = |seed: &u64| shard.is_none_or(|shard| shard.has(seed - first));
        (first..first.saturating_add(count)).filter(falls_here).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(name: &str) -> String {
        let file = format!("{}/../examples/fleet/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(file).expect("the example is there")
    }

    /// What follows a word in a text, up to one of these.
    fn after<'a>(text: &'a str, word: &str, until: &[char]) -> &'a str {
        let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("{word} is not in:\n{text}"));
        rest.split(until).next().unwrap_or(rest).trim()
    }

    /// Every seed falls to exactly one of the parts.
    fn divides(shards: &[String]) {
        let seeds = |shard: &String| Shard::seeds(Some(shard.parse().expect("a part")), 300, 1_001);
        let mut all: Vec<u64> = shards.iter().flat_map(seeds).collect();
        all.sort_unstable();
        assert_eq!(all, Shard::seeds(None, 300, 1_001), "{shards:?}");
    }

    #[test]
    fn the_parts_are_disjoint_and_together_the_whole() {
        for count in [1, 2, 3, 7, 16, 2_000] {
            divides(&(0..count).map(|index| format!("{index}/{count}")).collect::<Vec<_>>());
        }
        for bad in ["4/4", "1/0", "1", "-1/4", "a/b"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_matrix_example_divides_the_seeds() {
        let text = example("github-actions.yml");
        let indices = after(&text, "shard: [", &[']']).split(',').map(str::trim);
        let count = after(&text, "--shard ${{ matrix.shard }}/", &[' ', '\n']);
        let shards: Vec<String> = indices.map(|index| format!("{index}/{count}")).collect();
        assert!(shards.len() > 1, "{shards:?}");
        divides(&shards);
    }

    #[test]
    fn the_kubernetes_example_divides_the_seeds() {
        let text = example("kubernetes-job.yaml");
        assert_eq!(after(&text, "completionMode:", &['\n']), "Indexed");
        let completions: u64 = after(&text, "completions:", &['\n']).parse().expect("a number");
        let count = after(&text, "--shard=$(JOB_COMPLETION_INDEX)/", &['\n', '"', ']']);
        assert!(completions > 1);
        divides(&(0..completions).map(|index| format!("{index}/{count}")).collect::<Vec<_>>());
    }
}
