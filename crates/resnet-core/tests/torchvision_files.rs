//! Files of torchvision's ResNet-18 load strictly, and its logits agree; `tools/torch_files.py` wrote them.

mod hashed;

use flate2::read::GzDecoder;
use resnet_core::model::resnet::{resnet, Flavor, ResNetOptions};
use resnet_core::model::zoo::preset;
use resnet_core::session::{Images, LoadOptions, LoadReport};
use resnet_core::Session;
use resnet_ops::Executor;
use safetensors::SafeTensors;
use std::fs::{self, File};
use std::path::Path;

const SHAPE: [usize; 4] = [2, 3, 64, 64];

/// torchvision's logits, computed in f64.
fn expected(folder: &Path) -> Vec<f64> {
    let bytes = fs::read(folder.join("resnet18_logits.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let logits = file.tensor("logits").unwrap();
    assert_eq!(logits.shape(), [2, 1000]);
    logits.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// The logits of a file's weights in torchvision's network.
fn logits(file: &Path, executor: Executor) -> Vec<f64> {
    let options = ResNetOptions { flavor: Flavor::Torchvision, num_classes: 1000, ..preset("resnet18").unwrap() };
    let network = resnet(&options).unwrap();
    let mut session = Session::on(network, executor, 0);
    assert_eq!(session.load_weights(file, &LoadOptions::default()).unwrap(), LoadReport::default());
    assert_eq!(session.in_channels(), Some(3));
    let images: Vec<f32> =
        hashed::unit("torchvision.images").take(SHAPE.iter().product()).map(|unit| unit as f32).collect();
    session.forward::<f64>(Images { data: &images, shape: SHAPE }, false).unwrap().data
}

#[test]
fn torchvision_s_files_load_strictly_and_logits_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch_files");
    let expected = expected(&folder);
    let scale = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let unpacked = tempfile::tempdir().unwrap();
    for name in ["resnet18.pth", "resnet18.safetensors"] {
        let path = unpacked.path().join(name);
        let mut packed = GzDecoder::new(File::open(folder.join(format!("{name}.gz"))).unwrap());
        std::io::copy(&mut packed, &mut File::create(&path).unwrap()).unwrap();
        for (executor, bound) in [(Executor::ReferenceF64, 1e-8), (Executor::cpu(2).unwrap(), 1e-4)] {
            let found = logits(&path, executor);
            let distance = found.iter().zip(&expected).fold(0.0f64, |most, (a, b)| most.max((a - b).abs())) / scale;
            assert!(distance <= bound, "{name}: {distance:.2e}");
        }
    }
}
