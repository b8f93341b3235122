//! What a training step asks of a GPU, written down by one on paper.

use crate::on_paper::{step, SGD};
use resnet_ops::{Asked, Precision};
use std::collections::BTreeMap;

/// Kernels and convolutions of a step of ResNet-18. What needs fewer lowers it.
const MOST: usize = 145;

const BATCH: u64 = 128;
/// Parameters of ResNet-18 for one channel and ten classes, with the biases of its convolutions.
const PARAMETERS: u64 = 11_178_378;

fn asked() -> Asked {
    step("resnet18", Precision::Bf16, [BATCH as usize, 1, 96, 96], SGD)
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
    let (stem, pooled, last) = (BATCH * 48 * 48 * 64, BATCH * 24 * 24 * 64, BATCH * 3 * 3 * 512);
    assert_eq!(of("sgd"), [5 * 4 * PARAMETERS]);
    // Two in, a byte for each output's place, two out.
    assert_eq!(of("norm_pool_forward"), [2 * stem + 3 * pooled]);
    assert_eq!(of("max_pool_backward"), [2 * stem + 3 * pooled]);
    assert_eq!(of("global_avg_pool_forward"), [2 * last + 2 * BATCH * 512]);
    assert_eq!(of("linear_forward"), [2 * BATCH * (512 + 16) + 4 * (512 * 10 + 10)]);
    // Images in f32 of one channel become blocks of 2x2 pixels, 51 by 51 of them, in eight lanes.
    assert_eq!(of("conv_import")[0], 4 * BATCH * 96 * 96 + 2 * BATCH * 51 * 51 * 8);
    // Without and with a shortcut.
    assert_eq!(of("norm_apply")[..2], [2 * 2 * pooled, 3 * 2 * pooled]);
    // The last block's first: x, dy, and the output, by which dy is masked and written back; the stem's last, which has no output.
    // Two sums for each channel of each slice, in f64, written and read: of 64 channels 264 slices, of 512 an eighth of them.
    let sums = 2 * 2 * 8 * 264 * 64;
    assert_eq!(of("norm_moments")[0], 2 * stem + sums);
    assert_eq!(of("norm_backward_sums")[0], 4 * 2 * last + sums);
    assert_eq!(of("norm_backward_sums").last(), Some(&(2 * 2 * stem + sums)));
    assert_eq!(of("norm_backward").last(), Some(&(3 * 2 * stem)));
    // All but the last layer's and two of each of the norms' channels; of these, the stem's, and of shortcuts.
    let (normed, shortcuts) = (64 + 4 * (64 + 128 + 256 + 512), 128 + 256 + 512);
    let weights = PARAMETERS - 5130 - 2 * normed - (normed + shortcuts);
    // The stem's kernels of 7x7 become some of 4x4 in eight lanes.
    let packed = weights - 64 * 49 + 64 * 16 * 8;
    assert_eq!(of("conv_pack"), [4 * weights + 2 * packed + 2 * 4 * (normed + shortcuts)]);
    // A norm's biases are cleared, a shortcut's take the gradient of the norm's that it is added to.
    assert_eq!(of("conv_unpack"), [4 * weights + 2 * packed + 4 * (normed + 2 * shortcuts)]);
    let multiply_adds = asked.convolutions.iter().map(|convolution| convolution.multiply_adds()).max();
    // A 3x3 convolution of 64 channels.
    assert_eq!(multiply_adds, Some(pooled * 64 * 9));
}

#[test]
fn the_bytes_that_optimisers_move_are_those_of_what_they_read_and_write() {
    let betas = r#""betas":[0.9,0.99]"#;
    for (kernel, passes, optimizer) in [
        ("adam", Some(7), format!(r#""type":"adamw","eps":1e-8,{betas}"#)),
        ("lion", Some(5), format!(r#""type":"lion",{betas}"#)),
        ("rmsprop", Some(5), r#""type":"rmsprop","alpha":0.9,"eps":1e-8,"momentum":0"#.into()),
        ("rmsprop", Some(7), r#""type":"rmsprop","alpha":0.9,"eps":1e-8,"momentum":0.9"#.into()),
        // Of matrices, which are updated one by one, paper sees that nothing is moved which is not there.
        ("muon_product", None, r#""type":"muon","momentum":0.9,"nesterov":true,"adjust_lr":"original""#.into()),
    ] {
        let optimizer = format!(r#"{{{optimizer},"lr":0.1,"weight_decay":0.1}}"#);
        let asked = step("resnet18", Precision::Fp32, [2, 1, 32, 32], &optimizer);
        let launches = asked.launches.iter().filter(|launch| launch.kernel == format!("{kernel}_f32"));
        let bytes: Vec<u64> = launches.map(|launch| launch.bytes).collect();
        assert!(!bytes.is_empty(), "{optimizer}");
        if let Some(passes) = passes {
            assert_eq!(bytes, [passes * 4 * PARAMETERS], "{optimizer}");
        }
    }
}
