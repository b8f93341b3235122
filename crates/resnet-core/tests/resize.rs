//! Resizing against Pillow and PyTorch, on the carried sample; `tools/pillow_resize_fixture.py` wrote the fixture.

use resnet_core::cancel::Cancel;
use resnet_core::data::{fashion_mnist, Dataset, Interpolation, Pixels, Resize, Transform};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

const FIXTURE: &[u8] = include_bytes!("fixtures/resize.safetensors");

fn sample() -> Dataset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist-sample");
    fashion_mnist::load(&folder, &Cancel::default()).unwrap().train
}

fn first_images(data: &Dataset, count: usize) -> Vec<f32> {
    let indices: Vec<usize> = (0..count).collect();
    let mut images = vec![f32::NAN; count * data.image_shape().iter().product::<usize>()];
    data.fill(&indices, &mut images, &mut vec![0; count]).unwrap();
    images
}

/// The fixture's tensors whose name starts so: name, (images, height, width), bytes.
fn expected(prefix: &str, dtype: Dtype) -> Vec<(String, [usize; 3], Vec<u8>)> {
    let fixture = SafeTensors::deserialize(FIXTURE).unwrap();
    let tensors = fixture.iter().filter(|(name, _)| name.starts_with(prefix));
    let tensors: Vec<_> = tensors
        .map(|(name, tensor)| {
            assert_eq!(tensor.dtype(), dtype);
            (name.to_owned(), tensor.shape().try_into().unwrap(), tensor.data().to_vec())
        })
        .collect();
    assert!(!tensors.is_empty(), "{prefix}");
    tensors
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn pil_is_pillow_on_bytes() {
    let sample = sample();
    for (name, [count, height, width], bytes) in expected("pillow_l_", Dtype::U8) {
        let resize = Transform::Resize(Resize { size: [height, width], interpolation: Interpolation::Pil });
        let resized = first_images(&sample.with_transforms(&[resize]).unwrap(), count);
        assert!(resized.iter().zip(&bytes).all(|(&pixel, &byte)| pixel == f32::from(byte) / 255.0), "{name}");
    }
}

#[test]
fn pil_is_pillow_on_floats() {
    let sample = sample();
    for (name, [count, height, width], bytes) in expected("pillow_f_", Dtype::F32) {
        let pixels = Pixels::F32(first_images(&sample, count));
        let data = Dataset::from_arrays(pixels, [count, 1, 28, 28], vec![0; count], None).unwrap();
        let resize = Transform::Resize(Resize { size: [height, width], interpolation: Interpolation::Pil });
        assert_eq!(first_images(&data.with_transforms(&[resize]).unwrap(), count), floats(&bytes), "{name}");
    }
}

#[test]
fn float_is_torch() {
    let sample = sample();
    for (name, [count, height, width], bytes) in expected("torch_", Dtype::F32) {
        let resize = Transform::Resize(Resize { size: [height, width], interpolation: Interpolation::Float });
        let resized = first_images(&sample.with_transforms(&[resize]).unwrap(), count);
        for (got, expected) in resized.iter().zip(floats(&bytes)) {
            assert!((got - expected).abs() <= 1e-6, "{name}: expected {expected}, got {got}");
        }
    }
}
