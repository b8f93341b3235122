//! Predictions that do not depend on which way an image looks: those of an image and its mirror image, averaged.

use crate::classify::loss;
use crate::data::{DataPass, Dataset, Loader, Order};
use crate::error::Result;
use crate::metrics::Metrics;
use crate::session::Session;
use crate::tensor::{copy_of, Images, Tensor};
use resnet_ops::cross_entropy::Outcome;

impl Session {
    /// The mean of the outputs for images and for their mirror images, left to right.
    ///
    /// # Errors
    /// `ERR_SHAPE` if the images do not fit the network.
    pub fn forward_both_ways(&mut self, images: Images) -> Result<Tensor<f32>> {
        let mut output = self.forward::<f32>(images, false)?;
        let mut mirrored = copy_of(images.data)?;
        mirrored.chunks_exact_mut(images.shape[3]).for_each(<[f32]>::reverse);
        let other = self.forward::<f32>(Images { data: &mirrored, ..images }, false)?;
        output.data.iter_mut().zip(&other.data).for_each(|(one, other)| *one = (*one + other) * 0.5);
        Ok(output)
    }

    /// Loss and accuracy over a data set of the logits that [`Session::forward_both_ways`] gives; see [`Session::evaluate`].
    ///
    /// # Errors
    /// As [`Session::evaluate`].
    pub fn evaluate_both_ways(&mut self, data: &Dataset, batch_size: usize) -> Result<Metrics> {
        self.check_data("images", data)?;
        self.check_names("data", data)?;
        let pass = DataPass::new(data, batch_size, Order::Sequential, false)?.cancelled_by(self.cancel());
        let threads = pass.usual_threads();
        let mut loader = Loader::new(pass, threads)?;
        let mut metrics = Metrics::default();
        while let Some(batch) = loader.next() {
            let batch = batch?;
            let logits = self.forward_both_ways(Images { data: &batch.images, shape: batch.shape })?;
            let classes = logits.data.len() / batch.labels.len();
            for (logits, &label) in logits.data.chunks_exact(classes).zip(&batch.labels) {
                metrics.add(outcome(logits, label as usize), 1);
            }
        }
        Ok(metrics)
    }
}

/// Loss and hit of one sample, in f64; of equal logits the first counts, and with a NaN none does.
fn outcome(logits: &[f32], label: usize) -> Outcome {
    let above = |class: usize, best: usize| logits[class] > logits[best] || logits[class].is_nan();
    let best = (1..logits.len()).fold(0, |best, class| if above(class, best) { class } else { best });
    Outcome {
        loss_sum: loss(logits, label as u32, 1.0),
        weight: 1.0,
        correct: usize::from(best == label && !logits[best].is_nan()),
    }
}
