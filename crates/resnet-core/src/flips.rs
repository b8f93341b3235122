//! Predictions that do not depend on which way an image looks: those of an image and its mirror image, averaged.

use crate::data::{DataPass, Dataset, Loader, Order};
use crate::error::Result;
use crate::loss::Loss;
use crate::metrics::Metrics;
use crate::session::Session;
use crate::tally::Tally;
use crate::tensor::{copy_of, Images, Tensor};

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

    /// [`Session::evaluate_resident`] of the logits that [`Session::forward_both_ways`] gives.
    pub(crate) fn evaluate_both_ways(
        &mut self,
        data: &Dataset,
        batch_size: usize,
        mut tally: Option<&mut Tally>,
    ) -> Result<Metrics> {
        let pass = DataPass::new(data, batch_size, Order::Sequential, false)?.cancelled_by(self.cancel());
        let threads = pass.usual_threads();
        let mut loader = Loader::new(pass, threads)?;
        let (mut metrics, loss) = (Metrics::default(), Loss::default());
        while let Some(batch) = loader.next() {
            let batch = batch?;
            let logits = self.forward_both_ways(Images { data: &batch.images, shape: batch.shape })?;
            let labels = batch.labels.all();
            if let Some(tally) = &mut tally {
                tally.add(&logits.data, labels)?;
            }
            let classes = logits.data.len() / labels.len();
            metrics.add(loss.targets(labels, None).evaluate_plainly(classes, &logits.data)?, labels.len());
        }
        Ok(metrics)
    }
}
