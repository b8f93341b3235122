//! What is done with data sets.

use crate::{refused, within};
use resnet_core::cancel::Cancel;
use resnet_core::data::{Dataset, Source};
use resnet_core::Code;

/// Loads a source, if it can be, within so many bytes of memory; each image of it can be had.
pub fn load(source: &str, memory: usize) {
    let source = Source::from_json(source).expect("a source");
    within(memory, || match source.load(&[], &Cancel::default()) {
        Ok((splits, _)) => [Some(&splits.train), splits.validation.as_ref()].into_iter().flatten().for_each(look),
        Err(error) => refused(&error, &[Code::DataCorrupt, Code::DataNotFound, Code::InvalidArgument]),
    });
}

fn look(data: &Dataset) {
    let (count, pixels) = (data.len().min(4), data.image_shape().iter().product::<usize>());
    let (mut images, mut labels) = (vec![0.0; count * pixels], vec![0; count]);
    let indices: Vec<usize> = (0..count).map(|i| i * (data.len() - 1) / count.max(1)).collect();
    match data.fill(&indices, &mut images, &mut labels) {
        Ok(()) => assert!(labels.iter().all(|&label| (label as usize) < data.num_classes())),
        Err(error) => refused(&error, &[Code::DataCorrupt, Code::Io]),
    }
}

/// The source of a list of pictures.
pub fn source_of_list(path: &str) -> String {
    format!(
        r#"{{"type":"image_folder","path":{path:?},"transform":{{"size":[8,8],"fit":"pad","channels":3,"background":[0,0,0]}},
        "measured":false,"split":null,"stratified":true,"seed":0,"class_names":null,"on_error":"skip","verify":false,"cache":0}}"#
    )
}
