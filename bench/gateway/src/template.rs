//! Configurations with places to fill in: `@NAME@`. Not for any language of templates.

use measure::Outcome;

/// Fills every place; one that is not known is a mistake.
pub fn fill(text: &str, values: &[(&str, &str)]) -> Outcome<String> {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("@{name}@"), value);
    }
    let left = filled.split('@').skip(1).find(|piece| is_name(piece) && filled.contains(&format!("@{piece}@")));
    match left {
        Some(name) => Err(format!("@{name}@ is not known").into()),
        None => Ok(filled),
    }
}

fn is_name(piece: &str) -> bool {
    !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_none_is_left() {
        assert_eq!(fill("a @B@ c@d.e @B@", &[("B", "x")]).expect("known"), "a x c@d.e x");
        assert!(fill("@A@ @OTHER@", &[("A", "1")]).is_err());
    }
}
