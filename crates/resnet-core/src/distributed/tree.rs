//! The one order in which what shards have is added up: a binary tree over their numbers, each half of which is added up first.

use std::ops::Range;

/// Adds up what the shards of a range have. `known` gives the sum of a range that is known already, at the latest of a single shard.
pub fn fold<T>(
    range: Range<usize>,
    known: &mut impl FnMut(&Range<usize>) -> Option<T>,
    join: &mut impl FnMut(T, T) -> T,
) -> Option<T> {
    if let Some(sum) = known(&range) {
        return Some(sum);
    }
    let [left, right] = halves(&range)?;
    let (left, right) = (fold(left, known, join)?, fold(right, known, join)?);
    Some(join(left, right))
}

/// The largest parts of the tree over `shards` shards that are wholly within a range, from left to right.
pub fn nodes(shards: usize, own: &Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    descend(0..shards, own, &mut found);
    found
}

fn descend(range: Range<usize>, own: &Range<usize>, found: &mut Vec<Range<usize>>) {
    if range.is_empty() || range.end <= own.start || own.end <= range.start {
        return;
    }
    if own.start <= range.start && range.end <= own.end {
        return found.push(range);
    }
    if let Some(halves) = halves(&range) {
        halves.into_iter().for_each(|half| descend(half, own, found));
    }
}

fn halves(range: &Range<usize>) -> Option<[Range<usize>; 2]> {
    let middle = range.start + range.len() / 2;
    (range.len() > 1).then_some([range.start..middle, middle..range.end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_s_sum_is_a_node_s_of_the_whole() {
        let written = |range: Range<usize>, known: &[Range<usize>]| {
            let mut leaf = |range: &Range<usize>| {
                let is_known = range.len() == 1 || known.contains(range);
                is_known.then(|| if range.len() == 1 { format!("{}", range.start) } else { format!("[{range:?}]") })
            };
            fold(range, &mut leaf, &mut |left, right| format!("({left}+{right})")).unwrap()
        };
        assert_eq!(written(0..5, &[]), "((0+1)+(2+(3+4)))");
        for shards in 1..12 {
            let whole = written(0..shards, &[]);
            for ranks in 1..=shards {
                let own = |rank: usize| rank * shards / ranks..(rank + 1) * shards / ranks;
                let nodes: Vec<_> = (0..ranks).flat_map(|rank| nodes(shards, &own(rank))).collect();
                assert_eq!(nodes.iter().map(Range::len).sum::<usize>(), shards);
                let mut found = written(0..shards, &nodes);
                for node in nodes.iter().filter(|node| node.len() > 1) {
                    found = found.replace(&format!("[{node:?}]"), &written(node.clone(), &[]));
                }
                assert_eq!(found, whole, "{shards} shards of {ranks} ranks");
            }
        }
        assert_eq!(nodes(4, &(1..4)), [1..2, 2..4]);
    }
}
