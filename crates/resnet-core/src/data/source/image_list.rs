//! Lists of picture files with labels, one each or any number: CSV with a header, or a JSON object a line.

use crate::data::labels::LabelKind;
use crate::error::{brief, quoted, Code, Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files of classes, by the classes' names.
pub(super) type Classes = BTreeMap<String, Vec<PathBuf>>;

/// Files with the names of their classes, each at most once.
pub(super) type Sets = Vec<(PathBuf, Vec<String>)>;

/// What stands between the names of a cell.
const BETWEEN: char = '|';

/// Most bytes of a list.
const MAX_BYTES: u64 = 1 << 30;

/// Names that the column of paths, of labels and of parts may have.
const COLUMNS: [&[&str]; 3] =
    [&["path", "file", "filename", "image"], &["label", "class"], &["split", "part", "subset"]];

/// Whether a file's name says that it is a list.
pub(super) fn is_list(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ending == "csv" || ending == "jsonl")
}

/// Files by class, of training and, if a column says so of some, of validation, and how many are left out as `test`: those are for
/// validation where nothing else is. Paths are seen from the list's folder.
pub(super) fn read(path: &Path) -> Result<(Classes, Option<Classes>, usize)> {
    let by_class = |files: Sets| {
        let mut classes = Classes::new();
        for (file, names) in files {
            names.into_iter().for_each(|name| classes.entry(name).or_default().push(file.clone()));
        }
        classes
    };
    let (train, validation, test) = files_of(path, LabelKind::Single)?;
    Ok((by_class(train), validation.map(by_class), test))
}

/// The same of files that may be of any number of classes, in the list's order: `cat|dog` in a cell, `["cat","dog"]` in JSON; nothing in a
/// cell and `[]` are none.
pub(super) fn read_sets(path: &Path) -> Result<(Sets, Option<Sets>, usize)> {
    files_of(path, LabelKind::Multi)
}

fn files_of(path: &Path, kind: LabelKind) -> Result<(Sets, Option<Sets>, usize)> {
    let text = text_of(path)?;
    let rows = match path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
        true => csv_rows(&text, kind),
        false => json_rows(&text, kind),
    };
    let corrupt = |(line, got): (usize, String)| {
        let label = if kind == LabelKind::Single { "a label" } else { "labels" };
        let expected = format!("a path and {label} in each row (columns or fields named path and label)");
        Error::expected(Code::DataCorrupt, &format!("{}:{line}", path.display()), expected, got)
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let [mut train, mut validation, mut test] = [const { Sets::new() }; 3];
    for Row { line, file, mut names, part } in rows.map_err(corrupt)? {
        if file.is_empty() || names.iter().any(String::is_empty) {
            return Err(corrupt((line, "an empty one".into())));
        }
        let files = match &*part {
            "" | "train" | "training" => &mut train,
            "val" | "validation" | "valid" => &mut validation,
            "test" => &mut test,
            _ => {
                let got = format!("a part named {}, which is neither train nor validation nor test", quoted(&part));
                return Err(corrupt((line, got)));
            }
        };
        names.sort_unstable();
        names.dedup();
        files.push((folder.join(file), names));
    }
    if validation.is_empty() {
        return Ok((train, (!test.is_empty()).then_some(test), 0));
    }
    Ok((train, Some(validation), test.len()))
}

fn text_of(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return Error::expected(Code::DataNotFound, &path.display().to_string(), "a list of pictures", "nothing");
        }
        Error::io("open", path, &error)
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| Error::io("read", path, &error))?;
    let wrong =
        |expected: String, got: &str| Error::expected(Code::DataCorrupt, &path.display().to_string(), expected, got);
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("at most {MAX_BYTES} bytes"), "more"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("a list in UTF-8".into(), "other bytes"))?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}

/// A row of a list.
#[derive(Debug, PartialEq)]
struct Row {
    line: usize,
    file: String,
    names: Vec<String>,
    part: String,
}

/// Or the line that is wrong with what it has.
type Rows = std::result::Result<Vec<Row>, (usize, String)>;

fn csv_rows(text: &str, kind: LabelKind) -> Rows {
    let mut rows = records(text)?.into_iter();
    let (_, header) = rows.next().ok_or((1, "an empty file".to_owned()))?;
    let place = |names: &[&str]| header.iter().position(|cell| names.contains(&&*cell.trim().to_ascii_lowercase()));
    let [path, label, part] = COLUMNS.map(place);
    let (Some(path), Some(label)) = (path, label) else {
        return Err((1, format!("the columns {}", quoted(&header))));
    };
    let row = |(line, cells): Record| {
        if cells.len() != header.len() {
            return Err((line, format!("{} cells below {} columns", cells.len(), header.len())));
        }
        let cell = |place: usize| cells[place].clone();
        let names = match kind {
            LabelKind::Single => vec![cell(label)],
            LabelKind::Multi if cells[label].trim().is_empty() => Vec::new(),
            LabelKind::Multi => cells[label].split(BETWEEN).map(|name| name.trim().to_owned()).collect(),
        };
        Ok(Row { line, file: cell(path), names, part: part.map(cell).unwrap_or_default() })
    };
    rows.map(row).collect()
}

/// Line and cells of a row.
type Record = (usize, Vec<String>);

/// The cells of each row with its line, by RFC 4180: a quoted cell may hold commas, line breaks and doubled quotes.
fn records(text: &str) -> std::result::Result<Vec<Record>, (usize, String)> {
    let (mut rows, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut began, mut in_quotes) = (1, 1, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        line += usize::from(letter == '\n');
        match letter {
            '"' if in_quotes && letters.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' if in_quotes => in_quotes = false,
            '"' if cell.is_empty() => in_quotes = true,
            _ if in_quotes => cell.push(letter),
            ',' => cells.push(std::mem::take(&mut cell)),
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' => {
                cells.push(std::mem::take(&mut cell));
                let row = std::mem::take(&mut cells);
                if row != [""] {
                    rows.push((began, row));
                }
                began = line;
            }
            _ => cell.push(letter),
        }
    }
    if in_quotes {
        return Err((began, "a quote that is not closed".into()));
    }
    cells.push(cell);
    if cells != [""] {
        rows.push((began, cells));
    }
    Ok(rows)
}

fn json_rows(text: &str, kind: LabelKind) -> Rows {
    let rows = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let row = |(line, text): (usize, &str)| {
        let value: Value = serde_json::from_str(text).map_err(|error| (line, error.to_string()))?;
        let field = |names: &[&str]| names.iter().find_map(|&name| value.get(name));
        let [file, label, part] = COLUMNS.map(field);
        let names = match (label, kind) {
            (Some(Value::Array(names)), LabelKind::Multi) => names.iter().map(one).collect(),
            (label, _) => label.and_then(one).map(|name| vec![name]),
        };
        match (file.and_then(one), names) {
            (Some(file), Some(names)) => Ok(Row { line, file, names, part: part.and_then(one).unwrap_or_default() }),
            (_, _) => Err((line, brief(&value))),
        }
    };
    rows.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: Rows) -> Vec<[String; 3]> {
        rows.unwrap().into_iter().map(|Row { file, names, part, .. }| [file, names.join("+"), part]).collect()
    }

    #[test]
    fn cells_may_be_quoted_and_hold_line_breaks() {
        let text = "label,note,path,split\r\ncat,,a.png,\r\n\"d,o\"\"g\",\"x\n\",\"b\nc.png\",val\n\n";
        assert_eq!(rows(csv_rows(text, LabelKind::Single)), [["a.png", "cat", ""], ["b\nc.png", "d,o\"g", "val"]]);
        assert_eq!(rows(csv_rows("File,Class\na,1", LabelKind::Single)), [["a", "1", ""]]);
        for (text, line, got) in [
            ("", 1, "an empty file"),
            ("a,b\n1,2", 1, "the columns [\"a\", \"b\"]"),
            ("path,label\na,1\nb\n", 3, "1 cells below 2 columns"),
            ("path,label\n\"a,1\n", 2, "a quote that is not closed"),
        ] {
            assert_eq!(csv_rows(text, LabelKind::Single), Err((line, got.to_owned())));
        }
        let long = csv_rows(&"\u{1},".repeat(1000), LabelKind::Single).unwrap_err().1;
        assert!(long.len() < 500, "{} bytes", long.len());
    }

    #[test]
    fn lines_of_json_have_labels_as_words_or_numbers() {
        let text = "{\"path\":\"a\\n.png\",\"label\":3}\n\n{\"image\":\"b\",\"class\":\"cat\",\"split\":\"test\"}\n";
        assert_eq!(rows(json_rows(text, LabelKind::Single)), [["a\n.png", "3", ""], ["b", "cat", "test"]]);
        assert_eq!(json_rows("{\"path\":\"a\"}", LabelKind::Single), Err((1, "{\"path\":\"a\"}".to_owned())));
        assert_eq!(json_rows("\n[", LabelKind::Single).unwrap_err().0, 2);
    }

    #[test]
    fn rows_may_have_any_number_of_labels() {
        let multi = LabelKind::Multi;
        let text = "path,label\na,cat | big dog\nb,\nc,\"x,y\"\n";
        assert_eq!(rows(csv_rows(text, multi)), [["a", "cat+big dog", ""], ["b", "", ""], ["c", "x,y", ""]]);
        let text = "{\"path\":\"a\",\"label\":[\"cat|x\",2]}\n{\"path\":\"b\",\"label\":[]}\n{\"path\":\"c\",\"label\":\"a|b\"}";
        assert_eq!(rows(json_rows(text, multi)), [["a", "cat|x+2", ""], ["b", "", ""], ["c", "a|b", ""]]);
        assert_eq!(json_rows("{\"path\":\"a\",\"label\":[\"b\",null]}", multi).unwrap_err().0, 1);
        // Where each has one, a list of them is none.
        assert_eq!(json_rows(text, LabelKind::Single).unwrap_err().0, 1);
        assert_eq!(rows(csv_rows("path,label\na,b|c", LabelKind::Single)), [["a", "b|c", ""]]);
    }
}
