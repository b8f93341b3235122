// Binary cross-entropy in f64, a block to a sample.

#include "binary_cross_entropy/binary_cross_entropy.cuh"

/// Threads of a block.
constexpr int NAME(BINARY_THREADS) = 64;

/// Loss and right decisions of each sample, of which `codes` say what probability is wanted of each class: `numbers` has the four that
/// they stand for, then of each class its weight where it is wrong and where it is right. The gradient of the mean loss, if there is a
/// place for it.
SYNCING_KERNEL(binary_cross_entropy)(int classes, int judge, double share, const T *logits, const unsigned char *codes,
                                     const double *numbers, double *outcomes, T *gradients) {
    constexpr int BINARY_THREADS = NAME(BINARY_THREADS);
    SHARED double sums[BINARY_THREADS][2];
    const int lanes = padded(classes), thread = threadIdx.x;
    const T *row = logits + static_cast<int64>(blockIdx.x) * lanes;
    const unsigned char *code_row = codes + static_cast<int64>(blockIdx.x) * classes;
    T *target = gradients ? gradients + static_cast<int64>(blockIdx.x) * lanes : nullptr;
    double loss = 0, right = 0;
    for (int i = thread; i < lanes; i += BINARY_THREADS) {
        double gradient = 0;
        if (i < classes) {
            const double x = to_float(row[i]), t = numbers[code_row[i]];
            const double positive = numbers[5 + 2 * i] * t, negative = numbers[4 + 2 * i] * (1 - t);
            // Of the distance from 0: what is exact on both sides of it.
            const double small = exp(-fabs(x)), near = log1p(small);
            // Without a weight of 0, so that infinity times nothing does not come up.
            if (positive != 0) loss += positive * ((x < 0 ? -x : 0) + near);
            if (negative != 0) loss += negative * ((x > 0 ? x : 0) + near);
            right += x == x && (x >= 0) == ((code_row[i] & judge) != 0);
            const double large = 1 / (1 + small), rest = small / (1 + small);
            gradient = share * (negative * (x >= 0 ? large : rest) - positive * (x >= 0 ? rest : large));
        }
        if (target) round_to(static_cast<float>(gradient), &target[i]);
    }
    sums[thread][0] = loss / classes;
    sums[thread][1] = right;
    __syncthreads();
    add_pairs<BINARY_THREADS>(sums, outcomes + 2 * static_cast<int64>(blockIdx.x));
}

/// Sums of losses and of right decisions, by one block.
SYNCING_KERNEL(binary_cross_entropy_sum)(int samples, const double *outcomes, double *total) {
    constexpr int BINARY_THREADS = NAME(BINARY_THREADS);
    SHARED double sums[BINARY_THREADS][2];
    double loss = 0, right = 0;
    for (int i = threadIdx.x; i < samples; i += BINARY_THREADS) {
        loss += outcomes[2 * i];
        right += outcomes[2 * i + 1];
    }
    sums[threadIdx.x][0] = loss;
    sums[threadIdx.x][1] = right;
    __syncthreads();
    add_pairs<BINARY_THREADS>(sums, total);
}
