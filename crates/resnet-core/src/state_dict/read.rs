//! Named tensors out of files, which may be damaged or hostile.

use super::contents::Contents;
use super::problem::{damaged, Outcome, Problem};
use super::{safetensors_file, torch_file};
use crate::cancel::{Cancel, Cancellable};
use crate::error::{Code, Error, Result};
use resnet_ops::allocate;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

/// Largest file that is read: 8 GiB.
const MAX_FILE: u64 = 8 << 30;

/// Reads a safetensors file, or one that `torch.save` wrote: its first bytes tell. Tensors may be f32, f64, f16 or
/// bf16.
///
/// A PyTorch file holds a state dict, or a checkpoint with one as `state_dict`, `model_state_dict` or `model`. Nothing
/// in it is executed. Prefixes that averaging, `DataParallel` and `torch.compile` give to every name are taken off.
///
/// # Errors
/// `ERR_IO` if it cannot be read; `ERR_MODEL_FILE`, with path and reason, if it is neither, is damaged, needs code to
/// be loaded, or is a file of ours with other bytes than were written; `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
pub fn read(path: &Path, cancel: &Cancel) -> Result<Contents> {
    let (file, len) = opened(path)?;
    parsed(file, len, path, cancel)
}

/// All bytes of a file, of whatever kind.
///
/// # Errors
/// `ERR_IO` if it cannot be read; `ERR_OUT_OF_MEMORY`.
pub fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let (mut file, len) = opened(path)?;
    let mut bytes = allocate::zeros(len as usize)?;
    file.read_exact(&mut bytes).map_err(|error| Error::io("read", path, &error))?;
    Ok(bytes)
}

/// An open file and its length.
fn opened(path: &Path) -> Result<(File, u64)> {
    let io = |error: io::Error| Error::io("read", path, &error);
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(Error::new(Code::Io, format!("cannot read {}: not a file", path.display())));
    }
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    Ok((file, len))
}

/// Reads the bytes of such a file, which was at this path.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(bytes: &[u8], path: &Path, cancel: &Cancel) -> Result<Contents> {
    parsed(io::Cursor::new(bytes), bytes.len() as u64, path, cancel)
}

fn parsed(file: impl Read + Seek, len: u64, path: &Path, cancel: &Cancel) -> Result<Contents> {
    let file = BufReader::with_capacity(1 << 16, Cancellable::new(file, cancel));
    parse(file, len).map_err(|problem| match problem {
        Problem::Io(error) => cancel.check().err().unwrap_or_else(|| Error::io("read", path, &error)),
        Problem::Damaged(reason) => Error::new(Code::ModelFile, format!("{}: {reason}", path.display())),
        Problem::OutOfMemory(reason) => Error::new(Code::OutOfMemory, format!("{}: {reason}", path.display())),
    })
}

fn parse(mut file: impl BufRead + Seek, len: u64) -> Outcome<Contents> {
    if len > MAX_FILE {
        return damaged(format!("larger than {MAX_FILE} bytes"));
    }
    let mut head = Vec::new();
    file.by_ref().take(32).read_to_end(&mut head)?;
    file.rewind()?;
    // A safetensors file begins with the length of its header, which may look like anything, and then the header.
    let mut contents = match head.get(8) {
        Some(b'{') => safetensors_file::parse(file, len),
        _ if head.starts_with(b"PK\x03\x04") => torch_file::read_zip(file, len),
        _ if torch_file::is_legacy(&head) => torch_file::read_legacy(file, len),
        _ => match mistaken(&head) {
            Some(what) => damaged(what),
            None => safetensors_file::parse(file, len),
        },
    }?;
    contents.unwrap_names();
    Ok(contents)
}

/// What a file is that often lies where weights should, and what to do about it.
fn mistaken(head: &[u8]) -> Option<&'static str> {
    let begins = |with: &str| head.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with.as_bytes()));
    Some(match head.trim_ascii_start() {
        [] => "empty",
        _ if begins("version https://git-lfs") => {
            "a pointer of Git LFS, not the weights: `git lfs pull` replaces it by them"
        }
        [b'<', ..] => "a web page, not weights: the address of the download led to something else",
        [b'{' | b'[', ..] => "text in JSON, not weights: what answered the download may say why",
        [0x1f, 0x8b, ..] => "compressed by gzip: unpack it first",
        [0x89, b'H', b'D', b'F', ..] => "an HDF5 file, as Keras writes them: export the weights as safetensors",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;
    use safetensors::{serialize, Dtype};

    #[test]
    fn a_path_that_is_no_file_is_an_io_error() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none")] {
            let error = read(&path, &Cancel::default()).unwrap_err();
            assert_eq!(error.code, Code::Io);
            assert!(error.message.contains(path.to_str().unwrap()), "{error}");
        }
    }

    /// Files of every form, as PyTorch wrote them.
    const FILES: [&[u8]; 5] = [
        include_bytes!("../../tests/fixtures/torch_files/zip_protocol5.pth"),
        include_bytes!("../../tests/fixtures/torch_files/checkpoint.pth"),
        include_bytes!("../../tests/fixtures/torch_files/strided.pth"),
        include_bytes!("../../tests/fixtures/torch_files/legacy_shared.pth"),
        include_bytes!("../../tests/fixtures/torch_files/legacy_protocol4.pth"),
    ];

    fn parse_bytes(bytes: &[u8]) -> Outcome<Contents> {
        parse(io::Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn wrappers_of_names_are_taken_off_in_any_order() {
        let file = |names: &[&str]| {
            let value = 1f32.to_le_bytes();
            let view = || TensorView::new(Dtype::F32, vec![1], &value).unwrap();
            let count = TensorView::new(Dtype::I64, vec![], &[7, 0, 0, 0, 0, 0, 0, 0]).unwrap();
            let tensors =
                names.iter().map(|name| (*name, if name.ends_with("n_averaged") { count.clone() } else { view() }));
            serialize(tensors, None).unwrap()
        };
        let names = |names: &[&str]| {
            let contents = parse_bytes(&file(names)).unwrap();
            let mut entries: Vec<_> = contents.entries.into_iter().map(|entry| entry.name).collect();
            entries.sort();
            (entries.join(" "), contents.others.into_iter().map(|other| other.name).collect::<Vec<_>>().join(" "))
        };
        let found = |entries: &str, others: &str| (entries.to_owned(), others.to_owned());
        assert_eq!(names(&["module.a.b", "module.c"]), found("a.b c", ""));
        assert_eq!(names(&["_orig_mod.module.a", "_orig_mod.module.b"]), found("a b", ""));
        assert_eq!(names(&["module._orig_mod.module.a", "n_averaged"]), found("a", "n_averaged"));
        assert_eq!(names(&["module.a", "module.n_averaged"]), found("a", "n_averaged"));
        assert_eq!(names(&["module.a", "b"]), found("b module.a", ""));
        let long = format!("{}a", "module.".repeat(100_000));
        assert_eq!(names(&[&long]), found("a", ""));
    }

    #[test]
    fn what_is_mistaken_for_weights_is_named() {
        let html = "\n <!DOCTYPE html><html><head><title>Sign in</title></head></html>";
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46830571\n";
        let cases: [(&[u8], &str); 7] = [
            (b"", "empty"),
            (pointer.as_bytes(), "git lfs pull"),
            (html.as_bytes(), "a web page"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "a web page"),
            (b"{\"error\":\"Repository not found\"}", "JSON"),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03more", "gzip"),
            (b"\x89HDF\r\n\x1a\n\0\0\0\0\0", "HDF5"),
        ];
        for (bytes, reason) in cases {
            let Err(Problem::Damaged(message)) = parse_bytes(bytes) else { panic!("{reason}") };
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn pytorch_files_cut_off_anywhere_are_refused() {
        for file in FILES {
            assert!(parse_bytes(file).is_ok());
            for len in 0..file.len() {
                assert!(matches!(parse_bytes(&file[..len]), Err(Problem::Damaged(_))), "{len} bytes");
            }
        }
    }

    #[test]
    fn flipped_bits_of_pytorch_files_never_panic_or_expand() {
        for file in FILES {
            let mut flipped = file.to_vec();
            for i in 0..file.len() {
                for bit in 0..8 {
                    flipped[i] ^= 1 << bit;
                    match parse_bytes(&flipped) {
                        Ok(contents) => {
                            let values: usize = contents.entries.iter().map(|entry| entry.data.len()).sum();
                            assert!(values <= file.len());
                        }
                        Err(problem) => assert!(matches!(problem, Problem::Damaged(_)), "{problem:?}"),
                    }
                    flipped[i] = file[i];
                }
            }
        }
    }
}
