//! The order in which people sort names: numbers within them by their value.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

/// `class2` before `class10`; otherwise by letters without their case, then with it. Different names are never equal.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let [mut left, mut right] = [a, b].map(|name| name.chars().peekable());
    loop {
        let order = match (left.peek().copied(), right.peek().copied()) {
            (None, None) => return a.cmp(b),
            (one, other) if one.is_none() || other.is_none() => return one.cmp(&other),
            (Some('0'..='9'), Some('0'..='9')) => {
                let [one, other] = [number(&mut left), number(&mut right)];
                one.len().cmp(&other.len()).then_with(|| one.cmp(&other))
            }
            (one, other) => {
                left.next();
                right.next();
                let lower = |letter: Option<char>| letter.map(|letter| letter.to_lowercase().collect::<String>());
                lower(one).cmp(&lower(other))
            }
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The digits that come next, without leading zeros.
fn number(letters: &mut Peekable<Chars>) -> String {
    let mut digits = String::new();
    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
        if digit != '0' || !digits.is_empty() {
            digits.push(digit);
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_by_their_value_and_no_two_names_are_equal() {
        let sorted =
            ["", "1", "01", "2", "10", "a2", "a10", "A10b", "b", "B", "z\n1", "z\n2", "é", "日本", "日本2", "日本10"];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                let order = compare(a, b);
                assert_eq!(order, compare(b, a).reverse(), "{a:?} {b:?}");
                assert_eq!(order.is_eq(), i == j, "{a:?} {b:?}");
            }
        }
        let mut names =
            ["class10", "class2", "Class1", "class1", "99999999999999999999999", "100000000000000000000000"];
        names.sort_by(|a, b| compare(a, b));
        let expected = ["99999999999999999999999", "100000000000000000000000", "Class1", "class1", "class2", "class10"];
        assert_eq!(names, expected);
    }
}
