//! What the kernels of one processor compute, beside those of another, to the bit: a digest of each op, which the first machine tells and the
//! next is given.

use crate::kernels::each;
use crate::support::ops::Op;
use crate::support::{order, shapes, tell};
use resnet_ops::{Algorithm, Executor, Isa};
use std::collections::BTreeMap;

/// FNV-1a of the bits of values, after what `hash` is of.
fn hash(hash: u64, values: &[f64]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Adds a digest of what each set of kernels makes of all cases.
fn add<O: Op>(op: &str, cases: Vec<O>, algorithm: Algorithm, found: &mut BTreeMap<String, u64>) {
    let on = |isa| Executor::cpu_with(1, isa).unwrap().with_convolution(algorithm);
    let executors = Isa::available().into_iter().filter_map(|isa| Some((order(isa)?, on(isa))));
    let executors: Vec<_> = executors.collect();
    each(cases, |_, compute| {
        for (order, executor) in &executors {
            let digest = found.entry(format!("{order}: {op}, {algorithm:?}")).or_insert(0xcbf2_9ce4_8422_2325);
            *digest = compute(executor).iter().fold(*digest, |digest, (_, values)| hash(digest, values));
        }
    });
}

/// `RESNET_NATIVE_TESTS_DIGESTS` has those of another processor, a line each; if it is empty, they are told.
#[test]
fn another_processor_computes_the_same() {
    let Ok(expected) = std::env::var("RESNET_NATIVE_TESTS_DIGESTS") else { return };
    let mut found = BTreeMap::new();
    macro_rules! every {
        ($($op:ident: $cases:path;)*) => {
            $(add(stringify!($op), $cases(), Algorithm::Auto, &mut found);)*
        };
    }
    crate::support::ops::every_op!(every);
    for algorithm in [Algorithm::Direct, Algorithm::Winograd] {
        add("conv2d", shapes::convolutions(), algorithm, &mut found);
    }
    if expected.is_empty() {
        return found.iter().for_each(|(name, digest)| tell(|| format!("digest {digest:016x} {name}")));
    }
    let (mut compared, mut differing) = (0, Vec::new());
    for line in expected.lines() {
        let (digest, name) = line.trim_start_matches("digest ").split_once(' ').unwrap();
        let Some(found) = found.get(name) else { continue };
        compared += 1;
        if format!("{found:016x}") != digest {
            differing.push(name);
        }
    }
    tell(|| format!("{} of {compared} digests are the other processor's", compared - differing.len()));
    assert!(compared > 0, "expected a set of kernels that both processors have, got none");
    assert!(differing.is_empty(), "other bits: {differing:#?}");
}
