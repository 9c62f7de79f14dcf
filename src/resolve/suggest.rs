//! Near names for `did you mean`.

/// Nobody mistypes a longer name by accident; the comparison takes quadratic time.
const LONGEST: usize = 64;

/// The candidate most like `wanted`, if it is like it at all. Ties go to the alphabetically first.
pub fn nearest(wanted: &str, candidates: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    if wanted.len() > LONGEST {
        return None;
    }
    let allowed = 1 + wanted.chars().count() / 4;
    let mut best: Option<(usize, String)> = None;
    for candidate in candidates {
        let candidate = candidate.as_ref();
        if candidate.len().abs_diff(wanted.len()) > 2 * allowed + 2 {
            continue;
        }
        let distance = distance(wanted, candidate);
        let found = (distance, candidate.to_string());
        if distance <= allowed && is_like(wanted, distance) && best.as_ref().is_none_or(|best| found < *best)
        {
            best = Some(found);
        }
    }
    best.map(|(_, name)| name)
}

/// A name that is half another one is no misspelling of it: `f` does not mean `if`.
fn is_like(wanted: &str, distance: usize) -> bool {
    let length = wanted.chars().count();
    2 * distance < length || (distance == 1 && length >= 2)
}

/// Edits apart; letter case and underscores count little (`BatchNorm` means `batch_norm`).
fn distance(a: &str, b: &str) -> usize {
    let plain = |text: &str| text.to_lowercase().replace('_', "");
    if plain(a) == plain(b) {
        return 0;
    }
    strsim::damerau_levenshtein(a, b)
}

/// `did you mean …?`, if there is something near.
pub fn did_you_mean(wanted: &str, candidates: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    nearest(wanted, candidates).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_typos_and_spelling_habits_but_not_strangers() {
        assert_eq!(nearest("dnese", ["dense", "conv"]).as_deref(), Some("dense"));
        assert_eq!(nearest("BatchNorm", ["batch_norm", "conv"]).as_deref(), Some("batch_norm"));
        assert_eq!(nearest("foo", ["dense", "conv"]), None);
        assert_eq!(nearest("f", ["if", "n"]), None);
        assert_eq!(nearest("conv", ["cos"]), None);
        assert_eq!(nearest("w", ["W", "x"]).as_deref(), Some("W"));
        assert_eq!(nearest("rl", ["lr"]).as_deref(), Some("lr"));
    }
}
