//! The nearest of a few known words to a mistyped one.

/// From here on (Jaro-Winkler, 0 to 1) two words are near.
const NEAR: f64 = 0.8;

/// Shorter words differ in one letter too easily: `os` is not a mistyped `off`.
const SLIP_LETTERS_MIN: usize = 3;

/// The known word that was probably meant.
pub(super) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Jaro-Winkler scores two swapped letters of a short word low: one slip is always near.
    let slip = |word: &str| found.len() >= SLIP_LETTERS_MIN && strsim::osa_distance(found, word) == 1;
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(found, word), word))
        .filter(|(score, word)| *score >= NEAR || slip(word))
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
        assert_eq!(nearest("tsl", ["off", "tls"]), Some("tls"));
        assert_eq!(nearest("x", ["off", "os"]), None);
    }
}
