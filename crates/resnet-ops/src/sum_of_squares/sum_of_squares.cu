// The sum of the squares of values.

/// A sum for each block, whose threads take every 256th of its elements; the first adds them up in order.
SYNCING_KERNEL(sum_of_squares)(int64 len, int64 block, const float *values, double *target) {
    SHARED double sums[256];
    const int64 start = blockIdx.x * block;
    const int64 end = start + block < len ? start + block : len;
    double sum = 0;
    for (int64 i = start + threadIdx.x; i < end; i += blockDim.x) sum += static_cast<double>(values[i]) * values[i];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    double total = 0;
    for (unsigned i = 0; i < blockDim.x; i++) total += sums[i];
    target[blockIdx.x] = total;
}
