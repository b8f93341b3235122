//! Heat maps beside those of the package grad-cam. `tools/grad_cam_fixtures.py` wrote the fixture.

use crate::frozen::{backends, network, session_of, stochastic_network};
use crate::optimizers::{batch, SHAPE};
use resnet_core::model::layer::{Child, Layer};
use resnet_core::session::Images;
use resnet_core::{Code, HeatMaps, Session};
use resnet_ops::Executor;
use safetensors::SafeTensors;

#[test]
fn heat_is_that_of_the_package_grad_cam() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/grad_cam.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (images, _) = batch(0);
    let images = Images { data: &images, shape: SHAPE };
    let mut compared = 0;
    for (executor, _) in backends() {
        for (name, network) in [("plain", network()), ("residual", stochastic_network())] {
            let best = file.tensor(&format!("{name} best")).unwrap();
            let best: Vec<u32> = best.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as u32).collect();
            let mut session = session_of(network, executor());
            for (key, tensor) in file.tensors() {
                let parts: Vec<&str> = key.split(' ').collect();
                let &[of, layer, wanted] = &parts[..] else { continue };
                if of != name {
                    continue;
                }
                let class = wanted.parse().ok();
                let HeatMaps { classes, heat } = session.grad_cam(images, Some(layer), class).unwrap();
                assert_eq!(classes, class.map_or(best.clone(), |class| vec![class; SHAPE[0]]), "{key}");
                assert_eq!(heat.shape, tensor.shape(), "{key}");
                let expected = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                for (place, (found, expected)) in heat.data.iter().zip(expected).enumerate() {
                    assert!((found - expected).abs() < 1e-3, "{key}: {found} for {expected} at {place}");
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 24 * backends().len());
}

/// Logits that are the means of the input's channels.
fn means(layers: Vec<Child>) -> Session {
    let pool = [Child::new("pool", Layer::GlobalAvgPool2d)];
    let mut session = Session::on(Layer::sequential([layers, pool.into()].concat()), Executor::cpu(1).unwrap(), 1);
    session.build(2).unwrap();
    session
}

#[test]
fn heat_is_where_the_class_is_for_more_images_than_are_computed_together() {
    // Each image has one pixel of its class, channel 0 or 1, at a place of its own.
    let (n, pixels) = (70, 12);
    let place = |image: usize| 5 * image % pixels;
    let mut data = vec![0.0; n * 2 * pixels];
    (0..n).for_each(|image| data[(image * 2 + image % 2) * pixels + place(image)] = 0.5);
    let images = Images { data: &data, shape: [n, 2, 3, 4] };
    let mut session = means(vec![Child::new("relu", Layer::Relu)]);
    let HeatMaps { classes, heat } = session.grad_cam(images, None, None).unwrap();
    let one_hot = |image: usize| (0..pixels).map(move |pixel| f32::from(u8::from(pixel == place(image))));
    assert_eq!(classes, (0..n).map(|image| image as u32 % 2).collect::<Vec<_>>());
    assert_eq!(heat.shape, [n, 3, 4]);
    assert_eq!(heat.data, (0..n).flat_map(one_hot).collect::<Vec<_>>());
    // Of the other class there is no evidence.
    let HeatMaps { classes, heat } = session.grad_cam(images, Some("relu"), Some(1)).unwrap();
    assert_eq!(classes, vec![1; n]);
    let evidence = |image: usize| one_hot(image).map(move |heat| heat * (image % 2) as f32);
    assert_eq!(heat.data, (0..n).flat_map(evidence).collect::<Vec<_>>());
}

#[test]
fn layers_and_classes_that_cannot_be_are_refused() {
    let data = [0.5; 8];
    let images = Images { data: &data, shape: [1, 2, 2, 2] };
    let mut session = means(vec![Child::new("relu", Layer::Relu)]);
    let refused = |session: &mut Session, layer: Option<&str>, class| {
        let error = session.grad_cam(images, layer, class).unwrap_err();
        (error.code, error.message)
    };
    let (code, message) = refused(&mut session, Some("pool"), None);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(
        message,
        "layer: expected the name of a layer or stage that returns maps, such as relu, got pool, which returns (N, 2)"
    );
    let (code, message) = refused(&mut session, Some("rely"), None);
    assert_eq!(code, Code::InvalidArgument);
    assert!(
        message.starts_with("layer: expected the name of a layer or stage that returns maps, such as relu"),
        "{message}"
    );
    assert_eq!(refused(&mut session, None, Some(2)).0, Code::Label);
    let (code, message) = refused(&mut means(vec![]), None, None);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(message, "layer: expected a name, for no stage returns maps of more than a pixel, got none");
    let spoiled = Images { data: &[f32::NAN; 8], shape: [1, 2, 2, 2] };
    for class in [None, Some(0)] {
        assert_eq!(session.grad_cam(spoiled, None, class).unwrap_err().code, Code::NonFiniteLoss);
    }
}
