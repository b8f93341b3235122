//! Named tensors out of files, which may be damaged or hostile.

use super::contents::Contents;
use super::problem::{damaged, Outcome, Problem};
use super::{safetensors_file, torch_file};
use crate::error::{Code, Error, Result};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

/// Largest file that is read: 8 GiB.
const MAX_FILE: u64 = 8 << 30;

/// Reads a safetensors file, or one that `torch.save` wrote: its first bytes tell. Tensors may be f32, f64, f16 or
/// bf16.
///
/// A PyTorch file holds a state dict, or a checkpoint with one as `state_dict`, `model_state_dict` or `model`. Nothing
/// in it is executed; prefixes that `DataParallel` and `torch.compile` give to every name are taken off.
///
/// # Errors
/// `ERR_IO` if it cannot be read; `ERR_MODEL_FILE`, with path and reason, if it is neither, is damaged, needs code to
/// be loaded, or has tensors of another type.
pub fn read(path: &Path) -> Result<Contents> {
    let io = |error: io::Error| Error::io("read", path, &error);
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(Error::new(Code::Io, format!("cannot read {}: not a file", path.display())));
    }
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    parse(BufReader::with_capacity(1 << 16, file), len).map_err(|problem| match problem {
        Problem::Io(error) => io(error),
        Problem::Damaged(reason) => Error::new(Code::ModelFile, format!("{}: {reason}", path.display())),
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
    match head.get(8) {
        Some(b'{') => safetensors_file::parse(file, len),
        _ if head.starts_with(b"PK\x03\x04") => torch_file::read_zip(file, len),
        _ if torch_file::is_legacy(&head) => torch_file::read_legacy(file, len),
        _ => safetensors_file::parse(file, len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_file_is_an_io_error() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none")] {
            let error = read(&path).unwrap_err();
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
