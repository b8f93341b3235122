//! Classes of images with their probabilities, and how sure these are.

use crate::data::{Dataset, LabelKind, Labels, LabelsRef, Order};
use crate::error::{named, Code, Error, Result};
use crate::plan::Mode;
use crate::session::Session;
use crate::tensor::Images;
use resnet_ops::allocate::make_room;

/// A class that an image may be of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The output that stands for it.
    pub class: usize,
    /// From 0 to 1; those of all classes add up to 1, unless an image may be of any number of them.
    pub probability: f64,
}

/// What [`Session::calibrate`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// What logits are divided by.
    pub temperature: f64,
    /// Mean loss of the samples with a temperature of 1.
    pub loss_before: f64,
    /// Mean loss of the samples with that temperature.
    pub loss_after: f64,
}

/// The range in which a temperature is looked for: where all samples are right, the least loss would be at 0.
const TEMPERATURES: [f64; 2] = [0.5, 20.0];
/// Halvings of that range.
const HALVINGS: usize = 40;

impl Session {
    /// The most probable classes of images (N, C, H, W), at most `top` of them for each, the most probable first: the softmax of the
    /// logits over the temperature, or where images may be of any number of classes the sigmoid of each. With `flip`, logits are the mean of the image's and of its mirror image's.
    ///
    /// # Errors
    /// `ERR_SHAPE` if the images do not fit the network, or it has no logits; `ERR_NON_FINITE_LOSS` if these are not finite.
    pub fn classify(&mut self, images: Images, top: usize, flip: bool) -> Result<Vec<Vec<Prediction>>> {
        let logits = if flip { self.forward_both_ways(images)? } else { self.forward::<f32>(images, false)? };
        let &[n, classes] = &logits.shape[..] else {
            let given = format!("an output of shape {:?}", logits.shape);
            return Err(Error::expected(Code::Shape, "network", "logits (N, classes)", given));
        };
        check_logits(&logits.data)?;
        let inverse = 1.0 / self.interface().temperature;
        let is_multi = self.interface().label_kind == Some(LabelKind::Multi);
        let row = |logits: &[f32]| {
            let predicted = |(class, probability)| Prediction { class, probability };
            let mut predictions: Vec<Prediction> = match is_multi {
                true => {
                    logits.iter().map(|&logit| sigmoid(f64::from(logit) * inverse)).enumerate().map(predicted).collect()
                }
                false => probabilities(logits, inverse).enumerate().map(predicted).collect(),
            };
            // Stable: of equal ones the first counts.
            predictions.sort_by(|a, b| b.probability.total_cmp(&a.probability));
            predictions.truncate(top);
            predictions
        };
        let mut all = Vec::new();
        make_room(&mut all, n)?;
        all.extend(logits.data.chunks_exact(classes).map(row));
        Ok(all)
    }

    /// Finds the temperature with the least mean loss over samples that were not trained on, from 0.5 to 20, and keeps it with the model
    /// (Guo et al., 2017, <https://arxiv.org/abs/1706.04599>). It changes no order of classes.
    ///
    /// # Errors
    /// `ERR_SHAPE`, `ERR_LABEL` if the data do not fit the network; `ERR_NON_FINITE_LOSS` if logits are not finite; `ERR_OUT_OF_MEMORY`;
    /// `ERR_ABORTED`.
    pub fn calibrate(&mut self, data: &Dataset, batch_size: usize) -> Result<Calibration> {
        self.check_data("images", data)?;
        self.check_names("data", data)?;
        let resident = self.resident(data)?;
        let mut loader = resident.loader(batch_size, Order::Sequential, self.cancel())?;
        let (mut logits, mut labels) = (Vec::new(), None::<Labels>);
        while let Some(batch) = loader.next() {
            let batch = batch?;
            self.each_part(resident.input(batch), &Mode::EVAL, |execution, _| {
                let output = execution.output::<f32>()?.data;
                let len = logits.len() + output.len();
                make_room(&mut logits, len)?;
                logits.extend(output);
                Ok(())
            })?;
            match &mut labels {
                Some(labels) => labels.extend(batch.labels.all())?,
                None => labels = Some(batch.labels.clone()),
            }
        }
        let labels = labels.unwrap_or_default();
        let (labels, count) = (labels.all(), labels.len());
        check_logits(&logits)?;
        let classes = logits.len() / count.max(1);
        let samples = || (0..count).map(|i| (&logits[i * classes..(i + 1) * classes], labels.part(i..i + 1)));
        // The loss is convex in the inverse of the temperature: its slope has one zero.
        let [mut low, mut high] = TEMPERATURES.map(|temperature| (1.0 / temperature).ln());
        (low, high) = (low.min(high), low.max(high));
        for _ in 0..HALVINGS {
            self.cancel().check()?;
            let middle = 0.5 * (low + high);
            let slope: f64 = samples().map(|(logits, labels)| slope(logits, labels, middle.exp())).sum();
            if slope > 0.0 {
                high = middle;
            } else {
                low = middle;
            }
        }
        let inverse = (0.5 * (low + high)).exp();
        let mean =
            |inverse| samples().map(|(logits, labels)| loss(logits, labels, inverse)).sum::<f64>() / count as f64;
        let found = Calibration { temperature: 1.0 / inverse, loss_before: mean(1.0), loss_after: mean(inverse) };
        self.set_temperature(found.temperature);
        Ok(found)
    }
}

/// Refuses logits of which one is not finite.
pub(crate) fn check_logits(logits: &[f32]) -> Result<()> {
    match logits.iter().find(|logit| !logit.is_finite()) {
        None => Ok(()),
        Some(&logit) => Err(Error::expected(
            Code::NonFiniteLoss,
            "logits",
            "finite numbers to tell classes by",
            named(logit.into()),
        )),
    }
}

/// The softmax of logits times the inverse of a temperature.
fn probabilities(logits: &[f32], inverse: f64) -> impl Iterator<Item = f64> + '_ {
    let (largest, sum) = largest_and_sum(logits, inverse);
    logits.iter().map(move |&logit| ((f64::from(logit) - largest) * inverse).exp() / sum)
}

/// 1 / (1 + exp(−x)).
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The plain loss of a sample, and below its derivative with respect to the inverse of the temperature.
fn loss(logits: &[f32], labels: LabelsRef, inverse: f64) -> f64 {
    match labels {
        LabelsRef::Single(labels) => {
            let (largest, sum) = largest_and_sum(logits, inverse);
            sum.ln() - (f64::from(logits[labels[0] as usize]) - largest) * inverse
        }
        LabelsRef::Multi { classes, matrix } => {
            let of = |(&logit, &wanted): (&f32, &u8)| {
                let x = f64::from(logit) * inverse * if wanted == 1 { -1.0 } else { 1.0 };
                x.max(0.0) + (-x.abs()).exp().ln_1p()
            };
            logits.iter().zip(matrix).map(of).sum::<f64>() / classes as f64
        }
    }
}

fn slope(logits: &[f32], labels: LabelsRef, inverse: f64) -> f64 {
    match labels {
        LabelsRef::Single(labels) => {
            let shares = probabilities(logits, inverse).zip(logits);
            let mean: f64 = shares.map(|(share, &logit)| share * f64::from(logit)).sum();
            mean - f64::from(logits[labels[0] as usize])
        }
        LabelsRef::Multi { classes, matrix } => {
            let of = |(&logit, &wanted): (&f32, &u8)| {
                let logit = f64::from(logit);
                logit * (sigmoid(logit * inverse) - f64::from(wanted))
            };
            logits.iter().zip(matrix).map(of).sum::<f64>() / classes as f64
        }
    }
}

fn largest_and_sum(logits: &[f32], inverse: f64) -> (f64, f64) {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, &logit| largest.max(logit.into()));
    (largest, logits.iter().map(|&logit| ((f64::from(logit) - largest) * inverse).exp()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pixels;
    use crate::interface::Interface;
    use crate::model::{Child, Layer};
    use resnet_ops::Executor;

    /// A network whose logits are the means of the input's channels.
    fn means(classes: usize) -> Session {
        let network = Layer::sequential(vec![Child::new("pool", Layer::GlobalAvgPool2d)]);
        let mut session = Session::on(network, Executor::cpu(1).unwrap(), 1);
        session.build(classes).unwrap();
        session
    }

    #[test]
    fn classes_come_sorted_with_their_softmax() {
        let data = [0.0, 2.0, 1.0, 1.0, 5.0, 1.0];
        let mut session = means(3);
        let found = session.classify(Images { data: &data, shape: [1, 3, 1, 2] }, 2, false).unwrap();
        // Means 1, 1 and 3.
        let sum = 2.0 + 2f64.exp();
        let expected = [(2, 2f64.exp() / sum), (0, 1.0 / sum)];
        assert_eq!(found[0].iter().map(|one| one.class).collect::<Vec<_>>(), [2, 0]);
        for (found, (_, expected)) in found[0].iter().zip(expected) {
            assert!((found.probability - expected).abs() < 1e-12);
        }
        let flipped = session.classify(Images { data: &data, shape: [1, 3, 1, 2] }, 2, true).unwrap();
        assert_eq!(flipped, found, "a mean does not see a mirror");
        let spoiled = [f32::NAN; 3];
        let error = session.classify(Images { data: &spoiled, shape: [1, 3, 1, 1] }, 1, false).unwrap_err();
        assert_eq!(error.code, Code::NonFiniteLoss);
    }

    #[test]
    fn the_temperature_has_the_least_loss() {
        // Logits of ±2, of which a quarter is wrong: the best probability is 3/4, so that 4 / T = ln 3.
        let pixels = (0..8).flat_map(|i| if i % 2 == 0 { [2.0, -2.0] } else { [-2.0, 2.0] }).collect();
        let labels = vec![0, 1, 0, 1, 0, 1, 1, 0];
        let data = Dataset::from_arrays(Pixels::F32(pixels), [8, 2, 1, 1], labels, None).unwrap();
        let mut session = means(2);
        let found = session.calibrate(&data, 3).unwrap();
        assert!((found.temperature - 4.0 / 3f64.ln()).abs() < 1e-6, "{found:?}");
        let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((found.loss_after - entropy).abs() < 1e-9 && found.loss_before > found.loss_after, "{found:?}");
        assert_eq!(session.interface().temperature, found.temperature);
        let predicted = session.classify(Images { data: &[2.0, -2.0], shape: [1, 2, 1, 1] }, 1, false).unwrap();
        assert!((predicted[0][0].probability - 0.75).abs() < 1e-9);
    }
    #[test]
    fn any_number_of_classes_have_a_probability_each() {
        // As above, but that each logit is right or wrong by itself: three quarters are.
        let pixels = (0..8).flat_map(|i| if i % 2 == 0 { [2.0, -2.0] } else { [-2.0, 2.0] }).collect();
        let matrix = vec![1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1];
        let labels = Labels::Multi { classes: 2, matrix };
        let data = Dataset::from_arrays(Pixels::F32(pixels), [8, 2, 1, 1], labels, None).unwrap();
        let mut session = means(2);
        session.set_interface(Interface { label_kind: Some(LabelKind::Multi), ..Interface::default() }).unwrap();
        let found = session.calibrate(&data, 3).unwrap();
        assert!((found.temperature - 2.0 / 3f64.ln()).abs() < 1e-6, "{found:?}");
        assert!((found.loss_before - session.evaluate(&data, 3).unwrap().loss()).abs() < 1e-12);
        let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((found.loss_after - entropy).abs() < 1e-9, "{found:?}");
        let predicted = session.classify(Images { data: &[-2.0, 2.0], shape: [1, 2, 1, 1] }, 2, false).unwrap();
        let told: Vec<usize> = predicted[0].iter().map(|one| one.class).collect();
        assert_eq!(told, [1, 0]);
        for (one, expected) in predicted[0].iter().zip([0.75, 0.25]) {
            assert!((one.probability - expected).abs() < 1e-9, "{one:?}");
        }
        let single = Dataset::from_arrays(Pixels::F32(vec![0.0; 2]), [1, 2, 1, 1], vec![1], None).unwrap();
        let error = session.evaluate(&single, 1).unwrap_err();
        let message =
            "data: expected any number of labels for each sample (labels: \"multi\"), as the model has been trained \
                       on, got one label for each sample";
        assert_eq!((error.code, &*error.message), (Code::Label, message));
    }
}
