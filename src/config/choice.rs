//! The nearest of a few known words to a mistyped one.

/// From here on two words are near: `durabilty` and `durability` have 0.98, `listen` and `shards` 0.44.
const NEAR: f64 = 0.8;

/// The known word that was probably meant.
pub(super) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(found, word), word))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// What to say about a word that is none of the known ones.
pub(super) fn refusal(found: &str, known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|word| format!("\"{word}\"")).collect();
    match nearest(found, known.iter().copied()) {
        Some(word) => format!("did you mean \"{word}\"? it is one of {}", quoted.join(", ")),
        None => format!("use one of {}", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_the_slip_and_not_a_stranger() {
        let known = ["durability", "data_dir", "listen"];
        assert_eq!(nearest("durabilty", known), Some("durability"));
        assert_eq!(nearest("datadir", known), Some("data_dir"));
        assert_eq!(nearest("zookeeper", known), None);
    }
}
