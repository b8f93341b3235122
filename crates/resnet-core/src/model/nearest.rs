//! Names that one that is unknown may have been meant for.

/// Of longer names so many letters are compared.
const LETTERS: usize = 64;

/// The names that are nearest to the wanted one, each once, the nearest first; of equally near ones the first.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<&'a str> {
    let wanted = letters(wanted);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for name in names {
        let away = distance(&wanted, &letters(name));
        let at = found.partition_point(|(other, _)| *other <= away);
        if at < count && !found.iter().any(|(_, other)| *other == name) {
            found.insert(at, (away, name));
            found.truncate(count);
        }
    }
    found.into_iter().map(|(_, name)| name).collect()
}

fn letters(name: &str) -> Vec<char> {
    name.chars().flat_map(char::to_lowercase).take(LETTERS).collect()
}

/// How many letters must be put in, taken out or changed (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let changed = above[j] + usize::from(letter != other);
            row.push(changed.min(above[j + 1] + 1).min(row[j] + 1));
        }
        above = row;
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_letters_apart_comes_first() {
        let names = ["conv1", "layer1", "layer1.0", "layer2", "layer1", "fc"];
        assert_eq!(nearest("Layer3", names, 2), ["layer1", "layer2"]);
        assert_eq!(nearest("fcc", names, 1), ["fc"]);
        assert_eq!(nearest("layer1.0", names, 9).len(), 5);
        assert_eq!(nearest(&"x".repeat(1 << 20), names, 1).len(), 1);
    }
}
