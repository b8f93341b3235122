//! Files in the forms in which weights are published load strictly, and logits agree with PyTorch's; `tools/torch_files.py` wrote them.

use crate::hashed;
use flate2::read::GzDecoder;
use resnet_core::model::layer::Layer;
use resnet_core::model::resnet::{resnet, Flavor, ResNetOptions, Shortcut};
use resnet_core::model::zoo;
use resnet_core::session::{Images, LoadOptions, LoadReport};
use resnet_core::{Code, Session};
use resnet_ops::{Executor, Precision};
use safetensors::SafeTensors;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch_files")
}

/// A file, unpacked.
struct Published {
    folder: TempDir,
    name: &'static str,
}

impl Published {
    fn new(name: &'static str) -> Self {
        let published = Self { folder: tempfile::tempdir().unwrap(), name };
        let mut packed = GzDecoder::new(File::open(fixtures().join(format!("{name}.gz"))).unwrap());
        std::io::copy(&mut packed, &mut File::create(published.path()).unwrap()).unwrap();
        published
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }
}

/// The images of a name and PyTorch's logits for them, computed in f64.
struct Expected {
    images: Vec<f32>,
    shape: [usize; 4],
    logits: Vec<f64>,
}

impl Expected {
    fn new(file: &str, images: &str, shape: [usize; 4], classes: usize) -> Self {
        let bytes = fs::read(fixtures().join(file)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let logits = file.tensor("logits").unwrap();
        assert_eq!(logits.shape(), [shape[0], classes]);
        let logits = logits.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect();
        let images = hashed::unit(images).take(shape.iter().product()).map(|unit| unit as f32).collect();
        Self { images, shape, logits }
    }

    /// Loads a file strictly on every backend, and compares.
    fn agrees(&self, file: &Published, network: &Layer, options: &LoadOptions) {
        let scale = self.logits.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let exact = [(Executor::ReferenceF64, 1e-8), (Executor::cpu(2).unwrap(), 1e-4)].into_iter();
        for (executor, bound) in exact.chain(Executor::cuda_for_tests(Precision::Fp32).map(|gpu| (gpu, 1e-4))) {
            let mut session = Session::on(network.clone(), executor, 0);
            assert_eq!(session.load_weights(&file.path(), options).unwrap(), LoadReport::default());
            assert_eq!(session.in_channels(), Some(self.shape[1]));
            let images = Images { data: &self.images, shape: self.shape };
            let found = session.forward::<f64>(images, false).unwrap().data;
            assert_eq!(found.len(), self.logits.len());
            let apart = found.iter().zip(&self.logits).fold(0.0f64, |most, (a, b)| most.max((a - b).abs())) / scale;
            assert!(apart <= bound, "{}: {apart:.2e}", file.name);
        }
    }
}

#[test]
fn torchvision_s_files_load_strictly_and_logits_agree() {
    let options = ResNetOptions { flavor: Flavor::Torchvision, num_classes: 1000, ..zoo::preset("resnet18").unwrap() };
    let expected = Expected::new("resnet18_logits.safetensors", "torchvision.images", [2, 3, 64, 64], 1000);
    for name in ["resnet18.pth", "resnet18.safetensors"] {
        expected.agrees(&Published::new(name), &resnet(&options).unwrap(), &LoadOptions::default());
    }
}

#[test]
fn cifar_weights_with_another_head_s_name_load_strictly_and_logits_agree() {
    let cifar = ResNetOptions { flavor: Flavor::Torchvision, ..zoo::cifar(20, None, false).unwrap() };
    let network = resnet(&ResNetOptions { shortcut: Shortcut::Pad, ..cifar.clone() }).unwrap();
    let file = Published::new("cifar_resnet20.th");
    let rename = [("linear".to_owned(), "fc".to_owned())].into();
    let renaming = LoadOptions { rename, ..LoadOptions::default() };
    Expected::new("cifar_resnet20_logits.safetensors", "cifar.images", [2, 3, 32, 32], 10)
        .agrees(&file, &network, &renaming);

    let refusal = |network: &Layer, options: &LoadOptions| {
        let mut session = Session::on(network.clone(), Executor::ReferenceF32, 0);
        let error = session.load_weights(&file.path(), options).unwrap_err();
        assert_eq!((error.code, session.in_channels()), (Code::StateDict, None));
        error.message
    };
    assert_eq!(
        refusal(&network, &LoadOptions::default()),
        "weights do not fit the network: missing: fc.weight, fc.bias; unexpected: linear.weight, linear.bias; \
         rename: { \"linear\": \"fc\" } makes the file's names the network's"
    );
    // Wrappers are gone before.
    let rename = [("module.linear".to_owned(), "fc".to_owned())].into();
    assert_eq!(
        refusal(&network, &LoadOptions { rename, ..LoadOptions::default() }),
        "rename: expected what names in the file begin with up to a dot, as conv1, bn1, layer1, layer2, layer3, linear, \
         got \"module.linear\""
    );
    let message = refusal(&resnet(&cifar).unwrap(), &renaming);
    assert!(message.contains("missing: layer2.0.downsample.0.weight, "), "{message}");
}
