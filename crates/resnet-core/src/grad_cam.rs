//! Where in an image the evidence for a class is: heat maps by Grad-CAM.

use crate::classify::check_logits;
use crate::error::{Code, Error, Result};
use crate::infer::EVALUATED_TOGETHER;
use crate::model::graph::{trace, Trace};
use crate::model::shape::Shape;
use crate::session::Session;
use crate::tensor::{Images, Tensor};
use resnet_ops::allocate;
use resnet_ops::resample::{torch_windows, Passes, Single};

/// Heat maps of images.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMaps {
    /// The class that each image's map is of.
    pub classes: Vec<u32>,
    /// (N, H, W) as the images: 0 where the least evidence is, 1 where the most is.
    pub heat: Tensor,
}

impl Session {
    /// Where in each image the evidence for a class is, by default for the most probable one: the maps that a layer or stage returns,
    /// weighted by the class's mean gradients and summed, cut off below 0, brought to the images' size (bilinear) and scaled to \[0, 1\]
    /// (Grad-CAM; Selvaraju et al., 2017, <https://arxiv.org/abs/1610.02391>). Where there is no evidence all is 0. Without a name it
    /// is the last stage that returns maps of more than a pixel.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if there is no such layer, it returns no maps, or the logits do not depend on it; `ERR_SHAPE`, `ERR_LABEL`
    /// if images or class do not fit the network; `ERR_NON_FINITE_LOSS` if logits or maps are not finite; `ERR_ABORTED`.
    pub fn grad_cam(&mut self, images: Images, layer: Option<&str>, class: Option<u32>) -> Result<HeatMaps> {
        images.check()?;
        let [n, channels, height, width] = images.shape;
        let trace = trace(self.network(), Shape::map(channels, height, width))?;
        let layer = layer_of_maps(&trace, layer)?;
        check_class(&trace, class)?;
        let (image, pixels) = (channels * height * width, height * width);
        let (mut classes, mut heat) = (allocate::with_room(n)?, allocate::zeros(n * pixels)?);
        let images = images.data.chunks(EVALUATED_TOGETHER * image);
        for (data, heat) in images.zip(heat.chunks_mut(EVALUATED_TOGETHER * pixels)) {
            let images = Images { data, shape: [data.len() / image, channels, height, width] };
            let part = match class {
                Some(class) => vec![class; images.shape[0]],
                None => self.classify(images, 1, false)?.iter().map(|best| best[0].class as u32).collect(),
            };
            let [maps, gradients] = self.sensitivity::<f32>(images, &layer, &part)?;
            check_logits(&maps.data)?;
            write_heat(&maps, &gradients, [height, width], heat);
            classes.extend(part);
        }
        Ok(HeatMaps { classes, heat: Tensor { data: heat, shape: vec![n, height, width] } })
    }
}

fn check_class(trace: &Trace, class: Option<u32>) -> Result<()> {
    let classes = trace.shapes[trace.output].channels();
    match class.filter(|&class| class as usize >= classes) {
        Some(class) => {
            let expected = format!("one below the network's {classes} classes");
            Err(Error::expected(Code::Label, "classIndex", expected, class))
        }
        None => Ok(()),
    }
}

/// The name of a layer that returns maps: the given one, or that of the last stage that returns maps of more than a pixel.
fn layer_of_maps(trace: &Trace, given: Option<&str>) -> Result<String> {
    let refused = |expected: String, given: String| Error::expected(Code::InvalidArgument, "layer", expected, given);
    match given {
        Some(name) => {
            let stages = match trace.stages_of_maps() {
                stages if stages.is_empty() => String::new(),
                stages => format!(", such as {}", stages.join(", ")),
            };
            let maps = format!("the name of a layer or stage that returns maps{stages}");
            match trace.value_of(name).map(|value| trace.shapes[value]) {
                Some(Shape::Map { .. }) => Ok(name.to_owned()),
                Some(shape @ Shape::Features(_)) => Err(refused(maps, format!("{name}, which returns {shape}"))),
                None => Err(refused(maps, name.to_owned())),
            }
        }
        None => match trace.last_maps() {
            Some(name) => Ok(name.to_owned()),
            None => {
                Err(refused("a name, for no stage returns maps of more than a pixel".to_owned(), "none".to_owned()))
            }
        },
    }
}

/// The heat of images from maps (N, C, h, w) and the gradients with respect to them, in `size` pixels each.
fn write_heat(maps: &Tensor, gradients: &Tensor, size: [usize; 2], heat: &mut [f32]) {
    let [channels, h, w] = [1, 2, 3].map(|axis| maps.shape[axis]);
    let enlarged =
        Passes::<Single> { down: torch_windows(h, size[0]), across: torch_windows(w, size[1]), down_first: false };
    let (mut sums, mut scratch) = (vec![0.0; h * w], Vec::new());
    let image = channels * h * w;
    let both = maps.data.chunks_exact(image).zip(gradients.data.chunks_exact(image));
    for ((maps, gradients), heat) in both.zip(heat.chunks_exact_mut(size[0] * size[1])) {
        sums.fill(0.0);
        for (map, gradients) in maps.chunks_exact(h * w).zip(gradients.chunks_exact(h * w)) {
            let weight = gradients.iter().sum::<f32>() / (h * w) as f32;
            sums.iter_mut().zip(map).for_each(|(sum, value)| *sum += weight * value);
        }
        sums.iter_mut().for_each(|sum| *sum = sum.max(0.0));
        enlarged.run(&sums, h, heat, &mut scratch);
        let least = heat.iter().copied().fold(f32::INFINITY, f32::min);
        let most = heat.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = if most > least { 1.0 / (most - least) } else { 0.0 };
        heat.iter_mut().for_each(|value| *value = (*value - least) * scale);
    }
}
