//! Checkpoints, from which a run goes on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resnet_core::data::{Dataset, Pixels};
use resnet_core::distributed::Alone;
use resnet_core::session::Session;
use resnet_core::train::{fit, Control, Event, FitConfig, Flow};
use resnet_core::{Code, Result};
use resnet_fuzz::{comes_back, file, network, refused, seed, within, MIB};
use resnet_ops::Executor;
use std::fs;

struct Silent;

impl Control for Silent {
    fn on_event(&mut self, _: &mut Session, _: &Event) -> Flow {
        Flow::Continue
    }
}

fn session() -> Session {
    Session::on(network(), Executor::cpu(1).expect("a processor"), 0)
}

/// Makes the run that all checkpoints are held against, with an option more.
fn run(session: &mut Session, option: &str) -> Result<()> {
    let pixels = (0..4 * 16).map(|i| (i * 37 % 256) as u8).collect();
    let data = Dataset::from_arrays(Pixels::U8(pixels), [4, 1, 4, 4], vec![0, 1, 2, 3], None).expect("a data set");
    let config = FitConfig::from_json(&format!(
        r#"{{"epochs":2,"batch_size":4,"optimizer":{{"type":"adam","lr":0.001,"betas":[0.9,0.999],"eps":1e-8,"weight_decay":0}},
        "shuffle":true,"drop_last":false,{option}}}"#
    ));
    fit(session, &data, Some(&data), &config.expect("a run"), &mut Silent, &mut Alone).map(drop)
}

/// A checkpoint of each epoch.
fn seeds() {
    // What chooses the files to keep begins the program several times in one folder.
    drop(fs::remove_dir_all("run"));
    run(&mut session(), r#""checkpoint":{"dir":"run","every_epochs":1,"keep":2}"#).expect("a run");
    for entry in fs::read_dir("run").expect("the run's folder") {
        let path = entry.expect("the run's folder").path();
        if path.extension().is_some_and(|ending| ending == "safetensors") {
            seed(&path);
        }
    }
}

fuzz_target!(init: seeds(), |bytes: &[u8]| {
    file("step.safetensors", bytes);
    let mut session = session();
    within(16 * MIB + 200 * bytes.len(), || match run(&mut session, r#""resume":"step.safetensors""#) {
        Ok(()) => drop(comes_back(&session)),
        Err(error) => refused(
            &error,
            &[
                Code::ModelFile,
                Code::Checkpoint,
                Code::InvalidArgument,
                Code::NonFiniteWeights,
                Code::NonFiniteLoss,
                // Of an epoch whose batches were all left out.
                Code::DataCorrupt,
            ],
        ),
    });
});
