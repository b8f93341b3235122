//! Buffers of every type and place, read as f32 and f64.

use crate::support::{bf16_executor, every_executor};
use resnet_ops::{Buffer, DType, Executor, Real};

/// Numbers that every type but u8 holds exactly.
const VALUES: [f64; 6] = [0.0, -1.5, 3.0, 1024.0, -0.0078125, 7.0];

fn check<V: Real>(buffer: &Buffer, expected: &[f64]) {
    for range in [0..expected.len(), 2..5, 6..6, 1..1] {
        let expected: Vec<V> = expected[range.clone()].iter().map(|&value| V::of(value)).collect();
        let found = buffer.read::<V>(range.clone()).unwrap();
        assert!(found == expected, "{range:?} of {:?} as {:?}", buffer.dtype(), V::DTYPE);
        let mut target = vec![V::of(9.0); range.len()];
        buffer.read_to(range, &mut target).unwrap();
        assert!(target == expected);
    }
}

#[test]
fn are_read_as_f32_and_f64() {
    for executor in every_executor().into_iter().chain(bf16_executor()) {
        let mut types = vec![executor.dtype(), executor.parameter_dtype(), DType::F32, DType::F64];
        types.dedup();
        for dtype in types {
            let buffer = executor.upload(dtype, &VALUES).unwrap();
            check::<f32>(&buffer, &VALUES);
            check::<f64>(&buffer, &VALUES);
        }
        let bytes = [0.0, 1.0, 254.0, 3.0, 255.0, 17.0];
        let buffer = executor.upload(DType::U8, &bytes).unwrap();
        check::<f32>(&buffer, &bytes);
        check::<f64>(&buffer, &bytes);
    }
}

#[test]
fn of_f64_are_rounded_once() {
    let third = 1.0 / 3.0;
    let buffer = Executor::ReferenceF64.upload(DType::F64, &[third]).unwrap();
    assert_eq!(buffer.read::<f32>(0..1).unwrap(), [third as f32]);
    assert_eq!(buffer.read::<f64>(0..1).unwrap(), [third]);
}

#[test]
fn have_no_elements_beyond_their_end() {
    for executor in every_executor() {
        let buffer = executor.upload(executor.dtype(), &VALUES).unwrap();
        for range in [0..7, 7..8, 6..7] {
            let error = buffer.read::<f32>(range.clone()).unwrap_err().to_string();
            assert!(error.contains(&format!("elements {range:?} of a buffer of 6")), "{error}");
            assert!(buffer.read_to(range, &mut [0f64]).is_err());
        }
        assert!(buffer.read_to(0..6, &mut [0f32; 5]).is_err());
    }
}

#[test]
fn of_zeros_stay_zeros_where_they_are_touched() {
    for executor in every_executor() {
        let mut buffer = executor.zeros(executor.dtype(), 5000).unwrap();
        buffer.touch(1..5000).unwrap();
        assert!(buffer.touch(0..5001).is_err());
        assert_eq!(buffer.read::<f64>(0..5000).unwrap(), [0.0; 5000]);
    }
}

#[test]
fn take_each_other_s_elements_where_they_are() {
    for executor in every_executor() {
        let dtype = executor.parameter_dtype();
        let backwards: Vec<f64> = VALUES.into_iter().rev().collect();
        let mut one = executor.upload(dtype, &VALUES).unwrap();
        let mut other = executor.upload(dtype, &backwards).unwrap();
        one.swap(&mut other).unwrap();
        check::<f64>(&one, &backwards);
        check::<f64>(&other, &VALUES);
        one.copy_from(&other).unwrap();
        check::<f64>(&one, &VALUES);
        check::<f64>(&other, &VALUES);
        let mut longer = executor.zeros(dtype, VALUES.len() + 1).unwrap();
        assert!(one.swap(&mut longer).is_err() && longer.copy_from(&one).is_err());
        check::<f64>(&one, &VALUES);
    }
}

#[test]
fn averages_move_parts_of_them_towards_others() {
    for executor in every_executor() {
        let dtype = executor.parameter_dtype();
        let (mut average, source) =
            (executor.upload(dtype, &VALUES).unwrap(), executor.upload(dtype, &[4.0; 6]).unwrap());
        resnet_ops::average::average(&executor, average.view_mut(1..5), &source.view(0..4), 0.25).unwrap();
        check::<f64>(&average, &[0.0, -0.125, 3.25, 769.0, 0.994140625, 7.0]);
        assert!(resnet_ops::average::average(&executor, average.view_mut(0..2), &source.view(0..3), 0.25).is_err());
    }
}
