//! The digest over every byte of our own files: SHA-256, with zeros in its own place.

use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, Read, Write};

/// The entry of a header's metadata that holds it, in hexadecimal digits.
pub(super) const KEY: &str = "resnet_native_sha256";
/// What stands in its place while it is worked out.
pub(super) const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The entry that describes a network, as JSON.
pub(super) const DESCRIPTION: &str = "resnet_native";
/// How the description begins of the files that have a digest.
const WITH_DIGEST: &str = r#"{"version":2,"#;

/// Whether a file of ours says that it has a digest, so that one whose name was damaged is no foreign file's.
pub(super) fn is_due(metadata: &HashMap<String, String>) -> bool {
    metadata.get(DESCRIPTION).is_some_and(|json| json.starts_with(WITH_DIGEST))
}

/// Bytes on their way from or to a file, and the digest of those that passed.
pub(super) struct Digesting<F> {
    file: F,
    hash: Option<Sha256>,
}

impl<F> Digesting<F> {
    /// Nothing is worked out unless `wanted`.
    pub(super) fn new(file: F, wanted: bool) -> Self {
        Self { file, hash: wanted.then(Sha256::new) }
    }

    /// Counts bytes in that do not pass.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }

    /// The digest in hexadecimal digits.
    pub(super) fn finish(self) -> String {
        let digest = self.hash.unwrap_or_default().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<F: Read> Read for Digesting<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(bytes)?;
        self.add(&bytes[..count]);
        Ok(count)
    }
}

impl<F: Write> Write for Digesting<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.add(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
