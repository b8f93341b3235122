//! What ranks exchange gradients in.

use resnet_ops::Buffer;

/// Memory for the gradients that come from other ranks, kept from step to step.
#[derive(Default)]
pub struct Exchange {
    /// Where GPUs compute, a slice of each node of all ranks, rank after rank.
    pub slices: Vec<Buffer>,
    /// What has come from others; where GPUs compute, the sums.
    pub received: Buffer,
}

impl Exchange {
    /// Its memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.received.bytes() + self.slices.iter().map(Buffer::bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::Exchange;
    use resnet_ops::{DType, Executor};

    #[test]
    fn slices_of_gpus_count_as_memory() {
        let executor = Executor::cpu(1).unwrap();
        let zeros = |len| executor.zeros(DType::F32, len).unwrap();
        let exchange = Exchange { slices: vec![zeros(3), zeros(3)], received: zeros(6) };
        assert_eq!(exchange.bytes(), 48);
    }
}
