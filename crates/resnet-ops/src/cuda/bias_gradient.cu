// The gradient of a bias, of a convolution or of a fully connected layer.

/// Sums of dy over all pixels of all images, an octet of channels to a block.
SYNCING_KERNEL(bias_gradient)(int64 pixels, int channels, const T *dy, float *gradients) {
    SHARED float sums[PIXEL_THREADS * OCTET];
    Octet sum = {};
    for (int64 pixel = threadIdx.x; pixel < pixels; pixel += blockDim.x) {
        const Octet values = load(dy + pixel * padded(channels) + blockIdx.x * OCTET);
        for (int lane = 0; lane < OCTET; lane++) sum.lane[lane] += values.lane[lane];
    }
    for (int lane = 0; lane < OCTET; lane++) sums[threadIdx.x * OCTET + lane] = sum.lane[lane];
    __syncthreads();
    const int channel = blockIdx.x * OCTET + threadIdx.x;
    if (threadIdx.x >= OCTET || channel >= channels) return;
    double total = 0;
    for (unsigned i = 0; i < blockDim.x; i++) total += sums[i * OCTET + threadIdx.x];
    gradients[channel] = static_cast<float>(total);
}
