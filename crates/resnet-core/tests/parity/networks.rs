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

fn googlenet() -> Layer {
    googlenet::googlenet(10).unwrap()
}

/// Tests of each fixture, by its name, and the list of them. The f64 reference and the GPU's kernels run on those that are
/// marked `both`, on the others with `RESNET_NATIVE_TESTS=all`.
macro_rules! networks {
    ($($fixture:ident $backends:ident $layer:expr;)*) => {
        pub const FIXTURES: &[&str] = &[$(stringify!($fixture)),*];

        $(mod $fixture {
            use super::*;

            #[test]
            fn cpu() {
                crate::cpu_rounds_no_worse_than_four_times_pytorch_f32(stringify!($fixture), $layer);
            }

            #[test]
            fn gpu() {
                if stringify!($backends) == "both" || crate::all() {
                    crate::gpu_kernels_round_no_worse_either(stringify!($fixture), $layer);
                }
            }

            #[test]
            fn reference() {
                if stringify!($backends) == "both" || crate::all() {
                    crate::reference_in_f64_computes_what_pytorch_does(stringify!($fixture), $layer);
                }
            }
        })*
    };
}

networks! {
    d2l_resnet18 both d2l("resnet18");
    d2l_resnet18_64x64 cpu d2l("resnet18");
    d2l_resnet34 cpu d2l("resnet34");
    d2l_resnet50 both d2l("resnet50");
    d2l_resnet50_64x64 cpu d2l("resnet50");
    d2l_resnet101 cpu d2l("resnet101");
    d2l_resnet152 cpu d2l("resnet152");
    d2l_resnext18 both d2l("resnext18");
    d2l_resnext18_64x64 both d2l("resnext18");
    d2l_resnext34 cpu d2l("resnext34");
    d2l_preactresnet18 both d2l("preactresnet18");
    d2l_preactresnet18_64x64 cpu d2l("preactresnet18");
    d2l_preactresnet34 cpu d2l("preactresnet34");
    d2l_preactresnet50 cpu d2l("preactresnet50");
    d2l_preactresnet101 cpu d2l("preactresnet101");
    d2l_preactresnet152 cpu d2l("preactresnet152");
    d2l_cifar_resnet20 both cifar(20, false);
    d2l_cifar_preactresnet29 both cifar(29, true);
    d2l_googlenet both googlenet();
    d2l_googlenet_64x64 both googlenet();
    torchvision_resnet18 both torchvision("resnet18");
    torchvision_resnet34 cpu torchvision("resnet34");
    torchvision_resnet50 cpu torchvision("resnet50");
    torchvision_resnet101 cpu torchvision("resnet101");
    torchvision_resnet152 cpu torchvision("resnet152");
    torchvision_resnext50_32x4d cpu torchvision("resnext50_32x4d");
    torchvision_resnext101_32x8d cpu torchvision("resnext101_32x8d");
    torchvision_resnext101_64x4d cpu torchvision("resnext101_64x4d");
    torchvision_wide_resnet50_2 cpu torchvision("wide_resnet50_2");
    torchvision_wide_resnet101_2 cpu torchvision("wide_resnet101_2");
    timm_resnetv2_18 cpu resnetv2(18);
    timm_resnetv2_34 cpu resnetv2(34);
    timm_resnetv2_50 both resnetv2(50);
    timm_resnetv2_101 cpu resnetv2(101);
    timm_resnetv2_152 cpu resnetv2(152);
    timm_resnet50d both resnet50d();
}
