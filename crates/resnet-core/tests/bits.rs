//! What the kernels of one processor compute, beside those of another. `RESNET_NATIVE_TESTS_BITS` names a file: the first machine writes
//! it, the next compares its own results with it.

use crate::order::order;
use crate::plan::{distance, every_kind, small_resnet, train};
use crate::tell::tell;
use resnet_ops::{Executor, Isa};
use std::collections::BTreeMap;

#[test]
fn another_processor_computes_the_same() {
    let Some(file) = std::env::var_os("RESNET_NATIVE_TESTS_BITS") else { return };
    let networks = [("three stages", small_resnet(), 1), ("every kind of layer", every_kind(), 3)];
    let mut found = BTreeMap::new();
    for isa in Isa::available() {
        let Some(order) = order(isa) else { continue };
        for (name, network, channels) in &networks {
            let (logits, losses, weights) = train(network.clone(), Executor::cpu_with(2, isa).unwrap(), *channels);
            for (what, values) in [("logits", logits), ("losses", losses), ("weights", weights)] {
                found.insert(format!("{order}, {name}, {what}"), values);
            }
        }
    }
    let Ok(text) = std::fs::read_to_string(&file) else {
        return std::fs::write(file, serde_json::to_string(&found).unwrap()).unwrap();
    };
    let expected: BTreeMap<String, Vec<f64>> = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    for (name, expected) in &expected {
        let Some(found) = found.get(name) else { continue };
        compared += 1;
        let distance = distance(found, expected);
        let how_near = if found == expected { "same bits".to_owned() } else { format!("distance {distance:.1e}") };
        tell(|| format!("{name}: {how_near}"));
        // The losses of later steps, and weights, amplify what rounds otherwise.
        let most = if name.ends_with("logits") { 1e-5 } else { 1e-2 };
        assert!(distance < most, "{name}: {distance:e}");
    }
    assert!(compared >= 6, "expected results of one set of kernels or more that both processors have, got {compared}");
}
