//! A training step on a GPU on paper. An example shows what comes of it, too.

use resnet_core::model::resnet::resnet;
use resnet_core::model::zoo::preset;
use resnet_core::session::Images;
use resnet_core::train::{Optimizer, Trainer};
use resnet_core::Session;
use resnet_ops::{Asked, Executor, Precision};

/// With momentum.
pub const SGD: &str = r#"{"type":"sgd","lr":0.01,"momentum":0.9,"nesterov":true,"weight_decay":1e-4}"#;

/// What a step of a network asks for, by this optimiser, on batches of this shape, (N, C, H, W).
pub fn step(network: &str, precision: Precision, shape: [usize; 4], optimizer: &str) -> Asked {
    let (executor, paper) = Executor::on_paper_for_tests(precision);
    let mut session = Session::on(resnet(&preset(network).unwrap()).unwrap(), executor, 0);
    let mut trainer = Trainer::new(Optimizer::from_json(optimizer).unwrap());
    let (data, labels) = (vec![0f32; shape.iter().product()], vec![0; shape[0]]);
    let mut step = || {
        paper.take();
        trainer.step(&mut session, Images { data: &data, shape }, &labels).unwrap();
        paper.take()
    };
    // In the first ones there is more to do: captures are tried, which paper refuses.
    (0..5).map(|_| step()).last().unwrap()
}
