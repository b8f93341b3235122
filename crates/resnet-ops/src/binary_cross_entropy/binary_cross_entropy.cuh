// Sums of pairs.
#pragma once

/// Adds up the threads' pairs, in their order, by the first two of them.
template <int THREADS> INLINE void add_pairs(const double (*pairs)[2], double *total) {
    if (threadIdx.x >= 2) return;
    double sum = 0;
    for (int i = 0; i < THREADS; i++) sum += pairs[i][threadIdx.x];
    total[threadIdx.x] = sum;
}
