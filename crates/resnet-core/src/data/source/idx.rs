//! Reads IDX files, the format of MNIST and its kin: unsigned bytes in one or more dimensions, plain or gzip.

use crate::cancel::{Cancel, Cancellable};
use crate::error::{Code, Error, Result};
use flate2::bufread::MultiGzDecoder;
use resnet_ops::allocate::make_room;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Bytes that are reserved before the first ones have come.
const FIRST_STEP: usize = 1 << 20;

/// What an IDX file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx<const D: usize> {
    /// The sizes, slowest first.
    pub shape: [usize; D],
    /// The values in row-major order.
    pub bytes: Vec<u8>,
}

/// Reads a file of unsigned bytes in `D` dimensions that holds at most `max_bytes` of them. Whether it is gzip is told by
/// its first bytes, not by its name.
///
/// # Errors
/// `ERR_DATA_CORRUPT` if the file is not of that kind, or longer or shorter than its header says; `ERR_IO` if it cannot be
/// read; `ERR_OUT_OF_MEMORY`; `ERR_ABORTED`.
pub fn read<const D: usize>(path: &Path, max_bytes: usize, cancel: &Cancel) -> Result<Idx<D>> {
    let file = File::open(path).map_err(|error| Error::io("open", path, &error))?;
    let idx = read_file(Cancellable::new(file, cancel), path, max_bytes);
    idx.map_err(|error| cancel.check().err().unwrap_or(error))
}

fn read_file<const D: usize>(mut file: impl Read, path: &Path, max_bytes: usize) -> Result<Idx<D>> {
    let mut start = Vec::new();
    file.by_ref().take(2).read_to_end(&mut start).map_err(|error| Error::io("read", path, &error))?;
    let gzip = start == [0x1f, 0x8b];
    let whole = BufReader::new(io::Cursor::new(start).chain(file));
    if gzip {
        parse(MultiGzDecoder::new(whole), path, max_bytes)
    } else {
        parse(whole, path, max_bytes)
    }
}

fn parse<const D: usize>(mut source: impl Read, path: &Path, max_bytes: usize) -> Result<Idx<D>> {
    let header = read_up_to(&mut source, 4 + 4 * D, path)?;
    let expected_magic = [0, 0, 8, D as u8];
    if header.len() >= 4 && header[..4] != expected_magic {
        let expected = format!("an IDX file of bytes in {D} dimensions, which starts with {expected_magic:02x?}");
        return Err(corrupt(path, expected, format!("{:02x?}", &header[..4])));
    }
    if header.len() < 4 + 4 * D {
        let expected = format!("an IDX header of {} bytes", 4 + 4 * D);
        return Err(corrupt(path, expected, format!("{} bytes", header.len())));
    }
    let mut shape = [0; D];
    for (size, field) in shape.iter_mut().zip(header[4..].chunks_exact(4)) {
        *size = u32::from_be_bytes([field[0], field[1], field[2], field[3]]) as usize;
    }
    let total = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let Some(expected) = total.filter(|&total| total <= max_bytes) else {
        return Err(corrupt(
            path,
            format!("at most {max_bytes} bytes of data"),
            format!("a header of sizes {shape:?}"),
        ));
    };

    let bytes = read_up_to(&mut source, expected, path)?;
    let wanted = || format!("{expected} bytes of data for the sizes {shape:?}");
    if bytes.len() < expected {
        return Err(corrupt(path, wanted(), format!("{} bytes", bytes.len())));
    }
    // Reading on also makes the decoder compare its checksum.
    if !read_up_to(&mut source, 1, path)?.is_empty() {
        return Err(corrupt(path, wanted(), "more"));
    }
    Ok(Idx { shape, bytes })
}

/// The next `count` bytes, or fewer at the end. Memory is asked for as bytes come, so a header alone cannot claim it.
fn read_up_to(source: &mut impl Read, count: usize, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let there = bytes.len();
        let step = (count - there).min(there.max(FIRST_STEP));
        make_room(&mut bytes, there + step)?;
        let got =
            source.by_ref().take(step as u64).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
        if got < step {
            break;
        }
    }
    Ok(bytes)
}

/// An error of these kinds comes from the decoder and tells of the content, any other tells of the disc.
fn unreadable(path: &Path, error: &io::Error) -> Error {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    if matches!(error.kind(), InvalidInput | InvalidData | UnexpectedEof) {
        corrupt(path, "a whole gzip file", format!("a damaged one ({error})"))
    } else {
        Error::io("read", path, error)
    }
}

fn corrupt(path: &Path, expected: impl fmt::Display, got: impl fmt::Display) -> Error {
    Error::expected(Code::DataCorrupt, &path.display().to_string(), expected, got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{write::GzEncoder, Compression};
    use std::io::Write as _;

    const CAP: usize = 1 << 30;

    fn idx(magic: [u8; 4], sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
        magic.into_iter().chain(sizes).chain(data.iter().copied()).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_bytes<const D: usize>(bytes: &[u8]) -> Result<Idx<D>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let result = read(file.path(), CAP, &Cancel::default());
        if let Err(error) = &result {
            assert!(error.message.contains(&file.path().display().to_string()), "names the file: {error}");
        }
        result
    }

    #[track_caller]
    fn assert_corrupt<const D: usize>(bytes: &[u8], expected: &str, got: &str) {
        let error = read_bytes::<D>(bytes).unwrap_err();
        assert_eq!(error.code, Code::DataCorrupt, "{error}");
        assert!(error.message.contains(expected) && error.message.contains(got), "{error}");
    }

    #[test]
    fn reads_plain_and_gzip() {
        let images = idx([0, 0, 8, 3], &[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = Idx { shape: [2, 1, 3], bytes: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(read_bytes(&images).unwrap(), expected);
        assert_eq!(read_bytes(&gzip(&images)).unwrap(), expected);
        let labels = idx([0, 0, 8, 1], &[3], &[7, 8, 9]);
        assert_eq!(read_bytes(&gzip(&labels)).unwrap(), Idx { shape: [3], bytes: vec![7, 8, 9] });
    }

    #[test]
    fn reads_more_than_one_step_without_spare_memory() {
        let data: Vec<u8> = (0..FIRST_STEP * 5 / 2).map(|i| ((i * i) >> 8) as u8).collect();
        let read = read_bytes::<1>(&gzip(&idx([0, 0, 8, 1], &[data.len() as u32], &data))).unwrap();
        assert!(read.bytes == data);
        assert_eq!(read.bytes.capacity(), data.len());
    }

    #[test]
    fn refuses_what_is_not_such_a_file() {
        assert_corrupt::<3>(b"", "an IDX header of 16 bytes", "got 0 bytes");
        assert_corrupt::<3>(&idx([0, 0, 8, 3], &[2, 1], &[]), "an IDX header of 16 bytes", "got 12 bytes");
        assert_corrupt::<3>(b"\x89PNG\r\n\x1a\n", "starts with [00, 00, 08, 03]", "got [89, 50, 4e, 47]");
        assert_corrupt::<3>(&idx([0, 0, 8, 1], &[2], &[1, 2]), "in 3 dimensions", "got [00, 00, 08, 01]");
        assert_corrupt::<1>(&idx([0, 0, 13, 1], &[1], &[0; 4]), "an IDX file of bytes", "got [00, 00, 0d, 01]");
        assert_corrupt::<1>(&gzip(b""), "an IDX header of 8 bytes", "got 0 bytes");
    }

    #[test]
    fn refuses_truncated_and_trailing_data() {
        let whole = idx([0, 0, 8, 1], &[4], &[1, 2, 3, 4]);
        for pack in [<[u8]>::to_vec, gzip] {
            assert_corrupt::<1>(&pack(&whole[..10]), "4 bytes of data for the sizes [4]", "got 2 bytes");
            assert_corrupt::<1>(&pack(&[&whole[..], &[5]].concat()), "4 bytes of data", "got more");
        }
        assert_corrupt::<1>(&[gzip(&whole), b"tail".to_vec()].concat(), "a whole gzip file", "damaged");
    }

    #[test]
    fn refuses_damaged_gzip() {
        let data: Vec<u8> = (0..4000u32).map(|i| ((i * i) >> 5) as u8).collect();
        let packed = gzip(&idx([0, 0, 8, 1], &[4000], &data));
        for length in [2, 9, 15, packed.len() / 2, packed.len() - 8, packed.len() - 1] {
            assert_corrupt::<1>(&packed[..length], "", "damaged");
        }
        let mut flipped = packed;
        let checksum = flipped.len() - 6;
        flipped[checksum] ^= 1;
        assert_corrupt::<1>(&flipped, "a whole gzip file", "damaged");
    }

    #[test]
    fn refuses_sizes_beyond_memory() {
        // The product overflows 64 bits, then is only too large, then large and not there.
        assert_corrupt::<3>(&idx([0, 0, 8, 3], &[u32::MAX; 3], &[]), "at most", "4294967295, 4294967295");
        assert_corrupt::<3>(&idx([0, 0, 8, 3], &[60_000, 28_000, 28], &[]), "at most 1073741824", "28000");
        assert_corrupt::<1>(&idx([0, 0, 8, 1], &[CAP as u32], &[1]), "1073741824 bytes", "got 1 bytes");
    }

    #[test]
    fn stops_at_a_gzip_bomb() {
        // Behind a header of four bytes: zeros without end, then 64 MiB of them in a small file.
        let header = idx([0, 0, 8, 1], &[4], &[0; 4]);
        let endless = parse::<1>(header.as_slice().chain(io::repeat(0)), Path::new("endless"), CAP).unwrap_err();
        assert_eq!(endless.message, "endless: expected 4 bytes of data for the sizes [4], got more");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&header).unwrap();
        io::copy(&mut io::repeat(0).take(1 << 26), &mut encoder).unwrap();
        let bomb = encoder.finish().unwrap();
        assert_corrupt::<1>(&bomb, "4 bytes of data", "got more");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_io_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read::<1>(folder.path(), CAP, &Cancel::default()).unwrap_err().code, Code::Io);
        assert_eq!(read::<1>(&folder.path().join("absent"), CAP, &Cancel::default()).unwrap_err().code, Code::Io);
    }
}
