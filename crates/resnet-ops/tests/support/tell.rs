//! What tests say of themselves.

/// Says something on the standard error stream where `RESNET_NATIVE_TESTS_TELL` is 1.
pub fn tell(line: impl FnOnce() -> String) {
    use std::io::Write;
    if std::env::var("RESNET_NATIVE_TESTS_TELL").is_ok_and(|value| value == "1") {
        let _ = writeln!(std::io::stderr(), "{}", line());
    }
}
