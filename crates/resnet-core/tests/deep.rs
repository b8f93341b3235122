//! A pre-activation network of 1,001 layers needs no deep stack.

use resnet_core::model::resnet::resnet;
use resnet_core::model::{zoo, Layer};
use resnet_core::session::{Images, Session};
use resnet_core::train::{Optimizer, Sgd, Trainer};
use resnet_ops::Executor;

const IMAGES: [usize; 4] = [2, 3, 8, 8];

fn resnet1001() -> Layer {
    resnet(&zoo::cifar(1001, None, true).unwrap()).unwrap()
}

#[test]
fn a_thousand_layers_train_and_are_dropped_on_a_small_stack() {
    let small_stack = std::thread::Builder::new().stack_size(128 << 10).spawn(|| {
        let mut session = Session::on(resnet1001(), Executor::cpu(1).unwrap(), 0);
        let mut trainer = Trainer::new(Optimizer::Sgd(Sgd {
            lr: 0.001,
            momentum: 0.9,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        }));
        let data = vec![0.5; IMAGES.iter().product()];
        let images = || Images { data: &data, shape: IMAGES };
        let before = trainer.step(&mut session, images(), &[0, 1]).unwrap().loss();
        assert!(before.is_finite());
        assert_eq!(session.forward::<f32>(images(), false).unwrap().shape, [2, 10]);
        let gradients = trainer.gradients::<f64>(&session).unwrap();
        // Its first convolution, 999 layers away from the loss, still learns.
        assert_eq!(gradients[0].0, "stem.conv.weight");
        assert!(gradients[0].1.data.iter().any(|&gradient| gradient != 0.0));
    });
    small_stack.unwrap().join().unwrap();
}
