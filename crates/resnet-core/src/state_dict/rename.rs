//! Other names for a file's tensors, where a network has its own.

use super::contents::{Contents, Entry};
use super::fitting::fits;
use crate::error::{Code, Error, Result};
use crate::model::graph::join;
use crate::model::params::Parameter;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// New beginnings of names by the old ones. A beginning ends at a dot or is the whole name; an empty one is that of every name.
pub type Renaming = BTreeMap<String, String>;

/// How many of a file's beginnings a message lists.
const LISTED: usize = 12;

impl Contents {
    /// Gives each name that begins with an old beginning, the longest one if there are several, the new one in its place.
    ///
    /// # Errors
    /// `ERR_STATE_DICT` if no name begins with one of the old beginnings, or two names become one.
    pub(crate) fn rename(&mut self, renaming: &Renaming) -> Result<()> {
        if renaming.is_empty() {
            return Ok(());
        }
        let mut unused: BTreeSet<&str> = renaming.keys().map(String::as_str).collect();
        let heads = self.heads();
        let mut origins = HashMap::new();
        let entries = self.entries.iter_mut().map(|entry| &mut entry.name);
        for name in entries.chain(self.others.iter_mut().map(|other| &mut other.name)) {
            let old = name.clone();
            if let Some((new, from)) = renamed(&old, renaming) {
                unused.remove(from);
                *name = new;
            }
            let earlier = origins.insert(name.clone(), old);
            if let Some(earlier) = earlier.filter(|earlier| *earlier != origins[name]) {
                let got = format!("{name} for both {earlier} and {}", origins[name]);
                return Err(Error::expected(Code::StateDict, "rename", "names that differ", got));
            }
        }
        match unused.first() {
            Some(unused) => {
                let expected = format!("what names in the file begin with up to a dot, as {heads}");
                Err(Error::expected(Code::StateDict, "rename", expected, format!("{unused:?}")))
            }
            None => Ok(()),
        }
    }

    /// What stands before the first dots of names.
    fn heads(&self) -> String {
        let names = self.entries.iter().map(|entry| &entry.name).chain(self.others.iter().map(|other| &other.name));
        let mut heads: Vec<&str> = Vec::new();
        for head in names.filter_map(|name| name.split('.').next()) {
            if heads.len() > LISTED {
                break;
            }
            if !heads.contains(&head) {
                heads.push(head);
            }
        }
        let more = if heads.len() > LISTED { " and others" } else { "" };
        format!("{}{more}", heads[..heads.len().min(LISTED)].join(", "))
    }
}

/// The name with the longest old beginning that it has replaced, and that beginning.
fn renamed<'a>(name: &str, renaming: &'a Renaming) -> Option<(String, &'a str)> {
    let dots = name.rmatch_indices('.').map(|(at, _)| at);
    let mut ends = [name.len()].into_iter().chain(dots).chain([0]);
    let (from, to) = ends.find_map(|end| renaming.get_key_value(&name[..end]))?;
    Some((replaced(name, from, to)?, from))
}

/// A name with another beginning, if it begins so.
fn replaced(name: &str, from: &str, to: &str) -> Option<String> {
    let rest = name.strip_prefix(from)?;
    let rest = if from.is_empty() || rest.is_empty() { rest } else { rest.strip_prefix('.')? };
    Some(join(to, rest))
}

/// The one change of a beginning by which all that a network misses would be found among the unexpected tensors, while `others` stay.
pub(super) fn suggestion(missing: &[&Parameter], unexpected: &[&Entry], others: &[&str]) -> Option<(String, String)> {
    let first = missing.first().filter(|_| missing.len() == unexpected.len())?;
    let by_name: HashMap<&str, &Entry> = unexpected.iter().map(|entry| (entry.name.as_str(), *entry)).collect();
    unexpected.iter().find_map(|entry| {
        let (to, from) = differing(&first.name, &entry.name);
        let is_found = |parameter: &&Parameter| {
            let entry = replaced(&parameter.name, to, from).and_then(|name| by_name.get(name.as_str()).copied());
            entry.is_some_and(|entry| fits(&parameter.shape, entry))
        };
        let stays = |name: &&str| replaced(name, from, to).is_none();
        (missing.iter().all(is_found) && others.iter().all(stays)).then(|| (from.to_owned(), to.to_owned()))
    })
}

/// Two names without the last parts that they have in common.
fn differing<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let common = a.rsplit('.').zip(b.rsplit('.')).take_while(|(a, b)| a == b);
    let len = common.map(|(part, _)| part.len() + 1).sum::<usize>();
    (&a[..a.len().saturating_sub(len)], &b[..b.len().saturating_sub(len)])
}

#[cfg(test)]
mod tests {
    use super::super::contents::Other;
    use super::*;
    use crate::model::layer::Init;
    use crate::model::params::Role;
    use safetensors::Dtype;

    fn entry(name: &str) -> Entry {
        Entry { name: name.into(), shape: vec![1], data: vec![0.0] }
    }

    fn contents(names: &[&str]) -> Contents {
        Contents { entries: names.iter().map(|name| entry(name)).collect(), ..Contents::default() }
    }

    fn renaming(pairs: &[(&str, &str)]) -> Renaming {
        pairs.iter().map(|&(from, to)| (from.into(), to.into())).collect()
    }

    /// The names afterwards.
    fn names_after(names: &[&str], pairs: &[(&str, &str)]) -> String {
        let mut contents = contents(names);
        contents.rename(&renaming(pairs)).unwrap();
        contents.entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>().join(" ")
    }

    fn refusal(names: &[&str], pairs: &[(&str, &str)]) -> String {
        let error = contents(names).rename(&renaming(pairs)).unwrap_err();
        assert_eq!(error.code, Code::StateDict);
        error.message
    }

    #[test]
    fn beginnings_end_at_dots() {
        let names = ["linear.weight", "linear.bias", "linear2.weight", "a.linear.weight", "linear"];
        assert_eq!(
            names_after(&names, &[("linear", "head.fc")]),
            "head.fc.weight head.fc.bias linear2.weight a.linear.weight head.fc"
        );
        assert_eq!(names_after(&["linear.weight", "a"], &[("linear.weight", "fc.weight")]), "fc.weight a");
        assert_eq!(names_after(&["a.weight"], &[]), "a.weight");
    }

    #[test]
    fn the_longest_beginning_counts_and_counts_once() {
        let names = ["a.b.c", "a.d", "b.e"];
        assert_eq!(names_after(&names, &[("a", "b"), ("a.b", "x.y"), ("b", "a")]), "x.y.c b.d a.e");
    }

    #[test]
    fn an_empty_beginning_is_that_of_all_names() {
        assert_eq!(names_after(&["backbone.a.weight", "backbone.b"], &[("backbone", "")]), "a.weight b");
        assert_eq!(
            names_after(&["a.weight", "fc.bias"], &[("", "backbone"), ("fc", "head")]),
            "backbone.a.weight head.bias"
        );
    }

    #[test]
    fn tensors_of_other_types_are_renamed_too() {
        let mut contents = contents(&["a.weight"]);
        contents.others.push(Other { name: "a.count".into(), dtype: Dtype::I64 });
        contents.rename(&renaming(&[("a", "b")])).unwrap();
        assert_eq!((contents.entries[0].name.as_str(), contents.others[0].name.as_str()), ("b.weight", "b.count"));
    }

    #[test]
    fn what_no_name_begins_with_is_refused() {
        let names = ["conv1.weight", "layer1.0.conv1.weight", "layer1.1.conv1.weight", "linear.bias"];
        for from in ["fc", "lin", "layer1.0.conv", "linear.bias.x", "linear."] {
            let expected = "what names in the file begin with up to a dot, as conv1, layer1, linear";
            assert_eq!(
                refusal(&names, &[(from, "x"), ("linear", "y")]),
                format!("rename: expected {expected}, got {from:?}")
            );
        }
        let many: Vec<String> = (0..20).map(|i| format!("a{i}.weight")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(
            refusal(&many, &[("b", "c")]).contains("a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11 and others, got")
        );
    }

    #[test]
    fn two_names_never_become_one() {
        let message = refusal(&["linear.weight", "fc.weight"], &[("linear", "fc")]);
        assert_eq!(message, "rename: expected names that differ, got fc.weight for both linear.weight and fc.weight");
        assert!(refusal(&["a.weight", "b.weight"], &[("a", "c"), ("b", "c")]).ends_with("both a.weight and b.weight"));
        // A file that has a name twice is refused as always.
        assert_eq!(names_after(&["a.x", "a.x", "c"], &[("c", "d")]), "a.x a.x d");
    }

    #[test]
    fn nothing_is_suggested_that_changes_what_fits() {
        let parameter = Parameter {
            name: "head.fc.bias".into(),
            shape: vec![1],
            role: Role::Bias,
            fan_in: 1,
            fan_out: 1,
            init: Init::Zeros,
            range: 0..1,
            input: None,
        };
        let suggested = |unexpected: &str, others: &[&str]| suggestion(&[&parameter], &[&entry(unexpected)], others);
        let change = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        assert_eq!(suggested("fc.bias", &["conv.bias"]), None);
        assert_eq!(suggested("fc.bias", &[]), change("", "head"));
        assert_eq!(suggested("linear.bias", &["linear2.bias"]), change("linear", "head.fc"));
        assert_eq!(suggested("linear.bias", &["linear.weight"]), None);
    }
}
