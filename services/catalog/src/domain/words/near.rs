//! How far one word is from another: letters put in, left out, replaced, or two neighbours swapped.

/// The number of such changes, if at most `most`.
pub fn edits(one: &str, other: &str, most: usize) -> Option<usize> {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > most {
        return None;
    }
    // The last two rows of the table of distances between beginnings.
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for row in 1..=one.len() {
        let mut now = vec![row; other.len() + 1];
        for column in 1..=other.len() {
            let same = one[row - 1] == other[column - 1];
            let replaced = last[column - 1] + usize::from(!same);
            let mut least = replaced.min(last[column] + 1).min(now[column - 1] + 1);
            let swapped =
                row > 1 && column > 1 && one[row - 1] == other[column - 2] && one[row - 2] == other[column - 1];
            if swapped {
                least = least.min(before_last[column - 2] + 1);
            }
            now[column] = least;
        }
        if now.iter().min().is_none_or(|least| *least > most) {
            return None;
        }
        before_last = std::mem::replace(&mut last, now);
    }
    last.last().copied().filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_one_change() {
        for (one, other, expected) in [
            ("projetcor", "projector", Some(1)),
            ("projektor", "projector", Some(1)),
            ("headphnes", "headphones", Some(1)),
            ("kopfhorrer", "kopfhorer", Some(1)),
            ("kitten", "sitting", None),
            ("", "ab", Some(2)),
            ("same", "same", Some(0)),
            ("lamp", "camera", None),
        ] {
            assert_eq!(edits(one, other, 2), expected, "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_same_both_ways(one in "[a-c]{0,6}", other in "[a-c]{0,6}", most in 0_usize..4) {
            prop_assert_eq!(edits(&one, &other, most), edits(&other, &one, most));
            prop_assert_eq!(edits(&one, &one, most), Some(0));
        }
    }
}
