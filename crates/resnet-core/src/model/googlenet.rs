//! Inception blocks and GoogLeNet, the networks that residual ones are compared with.

use super::block::{check_size, conv, Flavor};
use super::layer::{Child, Layer};
use super::resnet::head;
use crate::error::Result;
use serde::Deserialize;

/// Channels of the branches of an Inception block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inception {
    /// Of the 1x1 branch.
    pub c1: usize,
    /// Of the 1x1 and 3x3 convolutions of the second branch.
    pub c2: [usize; 2],
    /// Of the 1x1 and 5x5 convolutions of the third branch.
    pub c3: [usize; 2],
    /// Of the branch that pools first.
    pub c4: usize,
}

/// The blocks of GoogLeNet's three stages (Szegedy et al., 2015, table 1).
const STAGES: [&[(&str, Inception)]; 3] = [
    &[("3a", of(64, [96, 128], [16, 32], 32)), ("3b", of(128, [128, 192], [32, 96], 64))],
    &[
        ("4a", of(192, [96, 208], [16, 48], 64)),
        ("4b", of(160, [112, 224], [24, 64], 64)),
        ("4c", of(128, [128, 256], [24, 64], 64)),
        ("4d", of(112, [144, 288], [32, 64], 64)),
        ("4e", of(256, [160, 320], [32, 128], 128)),
    ],
    &[("5a", of(256, [160, 320], [32, 128], 128)), ("5b", of(384, [192, 384], [48, 128], 128))],
];

const fn of(c1: usize, c2: [usize; 2], c3: [usize; 2], c4: usize) -> Inception {
    Inception { c1, c2, c3, c4 }
}

/// The Inception block of d2l.ai 8.4: four branches side by side, each convolution with bias and ReLU. Maps (N, C, H, W)
/// become (N, c1 + c2\[1\] + c3\[1\] + c4, H, W). The names of its convolutions are d2l.ai's: `b1_1`, `b2_1`, `b2_2`, …
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if a number is 0 or beyond 2^20.
pub fn inception(Inception { c1, c2, c3, c4 }: Inception) -> Result<Layer> {
    for (parameter, size) in [("c1", c1), ("c2", c2[0]), ("c2", c2[1]), ("c3", c3[0]), ("c3", c3[1]), ("c4", c4)] {
        check_size(parameter, size)?;
    }
    let branches = [
        rectified("b1_1", c1, 1, 1).to_vec(),
        [rectified("b2_1", c2[0], 1, 1), rectified("b2_2", c2[1], 3, 1)].concat(),
        [rectified("b3_1", c3[0], 1, 1), rectified("b3_2", c3[1], 5, 1)].concat(),
        [vec![Child::new("b4_1", pool(1))], rectified("b4_2", c4, 1, 1).to_vec()].concat(),
    ];
    Ok(Layer::Concat { branches: branches.map(|children| Child::new("", Layer::sequential(children))).into() })
}

/// GoogLeNet as d2l.ai 8.4 defines it, without auxiliary classifiers: images (N, C, H, W) to logits (N, `num_classes`).
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` if `num_classes` is 0 or beyond 2^20.
pub fn googlenet(num_classes: usize) -> Result<Layer> {
    check_size("numClasses", num_classes)?;
    let stem = [
        [rectified("conv1", 64, 7, 2).to_vec(), vec![Child::new("maxpool1", pool(2))]].concat(),
        [rectified("conv2", 64, 1, 1), rectified("conv3", 192, 3, 1)].concat(),
        vec![Child::new("maxpool2", pool(2))],
    ];
    let mut children = vec![Child::group("stem", stem.concat())];
    for (number, blocks) in (3..).zip(STAGES) {
        let block = |&(name, block)| Ok(Child::new(format!("inception{name}"), inception(block)?));
        let mut stage = blocks.iter().map(block).collect::<Result<Vec<_>>>()?;
        if number < 5 {
            stage.push(Child::new(format!("maxpool{number}"), pool(2)));
        }
        children.push(Child::group(format!("inception{number}"), stage));
    }
    children.push(head(Flavor::D2l, "fc", num_classes));
    Ok(Layer::sequential(children))
}

/// A convolution with its ReLU.
fn rectified(name: &str, out_channels: usize, kernel: usize, stride: usize) -> [Child; 2] {
    let conv = Child::new(name, conv(Flavor::D2l, out_channels, kernel, stride));
    [conv, Child::new(format!("{name}_relu"), Layer::Relu)]
}

fn pool(stride: usize) -> Layer {
    Layer::MaxPool2d { kernel: [3; 2], stride: [stride; 2], padding: [1; 2] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graph::trace;
    use crate::model::params::Params;
    use crate::model::shape::Shape;
    use crate::model::summary::{rows, Depth};

    #[test]
    fn stages_are_those_of_d2l() {
        let rows = rows(&googlenet(10).unwrap(), &[1, 1, 96, 96], Depth::Stages).unwrap();
        let shown: Vec<(&str, &[usize])> =
            rows.iter().map(|row| (row.name.as_str(), row.output_shape.as_slice())).collect();
        let expected: [(&str, &[usize]); 5] = [
            ("stem", &[1, 192, 12, 12]),
            ("inception3", &[1, 480, 6, 6]),
            ("inception4", &[1, 832, 3, 3]),
            ("inception5", &[1, 1024, 3, 3]),
            ("head", &[1, 10]),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn it_has_d2l_s_number_of_parameters() {
        let network = googlenet(10).unwrap();
        let params = Params::of(&trace(&network, Shape::map(1, 96, 96)).unwrap()).unwrap();
        assert_eq!(params.parameters_len(), 5_977_530);
        let name = |i: usize| params.parameters[i].name.as_str();
        assert_eq!([name(0), name(6), name(8)], ["conv1.weight", "inception3a.b1_1.weight", "inception3a.b2_1.weight"]);
    }

    #[test]
    fn branches_stand_side_by_side() {
        let block = inception(of(64, [96, 128], [16, 32], 24)).unwrap();
        let trace = trace(&block, Shape::map(5, 7, 9)).unwrap();
        assert_eq!(trace.shapes[trace.output].with_batch(2), [2, 64 + 128 + 32 + 24, 7, 9]);
        assert!(inception(of(64, [0, 128], [16, 32], 24)).is_err());
    }
}
