//! What a training step asks of a GPU, written down by one on paper.

use crate::on_paper::step;
use resnet_ops::{Asked, Precision};
use std::collections::BTreeMap;

/// Kernels and convolutions of a step of ResNet-18. What needs fewer lowers it.
const MOST: usize = 148;

const BATCH: u64 = 128;

fn asked() -> Asked {
    step("resnet18", Precision::Bf16, [BATCH as usize, 1, 96, 96])
}

#[test]
fn a_step_of_resnet18_launches_no_more_than_it_did() {
    let asked = asked();
    let mut numbers = BTreeMap::<String, usize>::new();
    let convolutions = asked.convolutions.iter().map(|convolution| format!("cuDNN, {:?}", convolution.pass));
    for name in asked.launches.into_iter().map(|launch| launch.kernel).chain(convolutions) {
        *numbers.entry(name).or_default() += 1;
    }
    let table: String = numbers.iter().map(|(name, number)| format!("{number:5} {name}\n")).collect();
    let all: usize = numbers.values().sum();
    assert!(all > 0 && all <= MOST, "expected at most {MOST}, got {all}:\n{table}");
}

#[test]
fn the_bytes_that_kernels_of_resnet18_move_are_those_of_what_they_are_given() {
    let asked = asked();
    let of = |name: &str| -> Vec<u64> {
        let launches = asked.launches.iter().filter(|launch| launch.kernel == format!("{name}_bf16"));
        launches.map(|launch| launch.bytes).collect()
    };
    // ResNet-18 for one channel and ten classes, with the biases of its convolutions.
    let (parameters, stem, pooled, last) =
        (11_178_378, BATCH * 48 * 48 * 64, BATCH * 24 * 24 * 64, BATCH * 3 * 3 * 512);
    assert_eq!(of("sgd"), [5 * 4 * parameters]);
    // Two in, a byte for each output's place, two out.
    assert_eq!(of("norm_pool_forward"), [2 * stem + 3 * pooled]);
    assert_eq!(of("max_pool_backward"), [2 * stem + 3 * pooled]);
    assert_eq!(of("global_avg_pool_forward"), [2 * last + 2 * BATCH * 512]);
    assert_eq!(of("linear_forward"), [2 * BATCH * (512 + 16) + 4 * (512 * 10 + 10)]);
    // Images in f32 of one channel become blocks of 2x2 pixels, 51 by 51 of them, in eight lanes.
    assert_eq!(of("conv_import")[0], 4 * BATCH * 96 * 96 + 2 * BATCH * 51 * 51 * 8);
    // The norm's own sums: two for each channel of each image, in f64, written and read.
    assert_eq!(of("norm_moments")[0], 2 * stem + 2 * 2 * 8 * BATCH * 64);
    let multiply_adds = asked.convolutions.iter().map(|convolution| convolution.multiply_adds()).max();
    // A 3x3 convolution of 64 channels.
    assert_eq!(multiply_adds, Some(pooled * 64 * 9));
}
