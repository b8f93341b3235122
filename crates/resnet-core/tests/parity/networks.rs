//! The networks of the fixtures.

use resnet_core::model::googlenet;
use resnet_core::model::layer::Layer;
use resnet_core::model::resnet::{resnet, Flavor, ResNetOptions, Shortcut, Stem};
use resnet_core::model::zoo;

fn preset(name: &str) -> ResNetOptions {
    zoo::preset(name).unwrap()
}

fn d2l(name: &str) -> Layer {
    resnet(&ResNetOptions { flavor: Flavor::D2l, ..preset(name) }).unwrap()
}

fn torchvision(name: &str) -> Layer {
    resnet(&ResNetOptions { flavor: Flavor::Torchvision, ..preset(name) }).unwrap()
}

/// timm's resnetv2 of a depth.
fn resnetv2(depth: usize) -> Layer {
    torchvision(&format!("preactresnet{depth}"))
}

fn resnet50d() -> Layer {
    let options = ResNetOptions { stem: Stem::Deep, shortcut: Shortcut::AvgPool, ..preset("resnet50") };
    resnet(&ResNetOptions { flavor: Flavor::Torchvision, ..options }).unwrap()
}

pub fn cifar(depth: usize, pre_activation: bool) -> Layer {
    resnet(&zoo::cifar(depth, None, pre_activation).unwrap()).unwrap()
}

/// He et al.'s ResNet-20 for CIFAR-10, whose shortcuts have no parameters, without biases.
fn padded_cifar() -> Layer {
    let options = ResNetOptions { shortcut: Shortcut::Pad, ..zoo::cifar(20, None, false).unwrap() };
    resnet(&ResNetOptions { flavor: Flavor::Torchvision, ..options }).unwrap()
}

fn googlenet() -> Layer {
    googlenet::googlenet(10).unwrap()
}

/// A test, which `npm run test:all` alone runs if it is one of `all`.
macro_rules! test {
    (always $name:ident $body:block) => {
        #[test]
        fn $name() $body
    };
    (all $name:ident $body:block) => {
        #[test]
        #[ignore = "together these take minutes: npm run test:all"]
        fn $name() $body
    };
}

/// Of each fixture: its name; whether every backend is always tested, and whether every kernel of the CPU is; the network.
macro_rules! networks {
    ($($fixture:ident $backends:ident $kernels:ident $layer:expr;)*) => {
        pub const FIXTURES: &[&str] = &[$(stringify!($fixture)),*];

        mod on_every_backend {
            use super::*;
            $(test! { $backends $fixture { crate::parity::on_every_backend(stringify!($fixture), $layer) } })*
        }

        mod with_every_kernel {
            use super::*;
            $(test! { $kernels $fixture { crate::parity::with_every_kernel(stringify!($fixture), $layer) } })*
        }
    };
}

// Always with every kernel: one network of each kind, also in a shape for which those of large maps are chosen.
networks! {
    d2l_resnet18 always always d2l("resnet18");
    d2l_resnet18_96x96 all always d2l("resnet18");
    d2l_resnet34 always all d2l("resnet34");
    d2l_resnet50 always always d2l("resnet50");
    d2l_resnet50_64x64 all always d2l("resnet50");
    d2l_resnet101 always all d2l("resnet101");
    d2l_resnet152 always all d2l("resnet152");
    d2l_resnext18 always always d2l("resnext18");
    d2l_resnext18_64x64 all always d2l("resnext18");
    d2l_resnext34 always all d2l("resnext34");
    d2l_preactresnet18 always always d2l("preactresnet18");
    d2l_preactresnet18_64x64 all always d2l("preactresnet18");
    d2l_preactresnet34 always all d2l("preactresnet34");
    d2l_preactresnet50 always all d2l("preactresnet50");
    d2l_preactresnet101 always all d2l("preactresnet101");
    d2l_preactresnet152 always all d2l("preactresnet152");
    d2l_cifar_resnet20 always always cifar(20, false);
    d2l_cifar_preactresnet29 always always cifar(29, true);
    paper_cifar_resnet20 always always padded_cifar();
    d2l_googlenet always always googlenet();
    d2l_googlenet_64x64 all always googlenet();
    torchvision_resnet18 always all torchvision("resnet18");
    torchvision_resnet34 always all torchvision("resnet34");
    torchvision_resnet50 always all torchvision("resnet50");
    torchvision_resnet101 always all torchvision("resnet101");
    torchvision_resnet152 always all torchvision("resnet152");
    torchvision_resnext50_32x4d always always torchvision("resnext50_32x4d");
    torchvision_resnext101_32x8d always all torchvision("resnext101_32x8d");
    torchvision_resnext101_64x4d always all torchvision("resnext101_64x4d");
    torchvision_wide_resnet50_2 always all torchvision("wide_resnet50_2");
    torchvision_wide_resnet101_2 always all torchvision("wide_resnet101_2");
    timm_resnetv2_18 always all resnetv2(18);
    timm_resnetv2_34 always all resnetv2(34);
    timm_resnetv2_50 always all resnetv2(50);
    timm_resnetv2_101 always all resnetv2(101);
    timm_resnetv2_152 always all resnetv2(152);
    timm_resnet50d always always resnet50d();
}
