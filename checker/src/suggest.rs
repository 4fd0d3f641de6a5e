//! "Did you mean": the nearest of a few names.

/// `what` has no `name`; says which ones there are, the nearest first.
#[must_use]
pub fn unknown(what: &str, name: &str, names: &[&str]) -> String {
    let nearest = names.iter().min_by_key(|known| distance(name, known));
    let all = names.join(", ");
    match nearest.filter(|known| distance(name, known) <= 1 + known.len() / 3) {
        Some(known) => format!("there is no {what} `{name}`: did you mean `{known}`? ({all})"),
        None => format!("there is no {what} `{name}`; there are: {all}"),
    }
}

/// How many letters differ (Levenshtein), without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_or_all_of_them() {
        assert_eq!(distance("kitten", "sitting"), 3);
        let names = ["safe", "acks1", "at-most-once"];
        assert!(unknown("profile", "ack1", &names).contains("did you mean `acks1`?"));
        assert!(unknown("profile", "zzz", &names).starts_with("there is no profile `zzz`; there"));
    }
}
