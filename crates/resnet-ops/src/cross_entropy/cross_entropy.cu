// Softmax cross-entropy in f64, a block to a sample.

#include "cross_entropy/cross_entropy.cuh"

/// Threads of a block.
constexpr int NAME(LOSS_THREADS) = 64;

/// Loss and hit of each sample, which has two labels with a weight each, and those of `spread` for all classes, unless there are none; the
/// gradient of the mean loss, if there is a place for it.
SYNCING_KERNEL(cross_entropy)(int classes, double share, double gamma, const T *logits, const unsigned *labels, const double *weights,
                              const double *spread, double *outcomes, T *gradients) {
    constexpr int LOSS_THREADS = NAME(LOSS_THREADS);
    SHARED double sums[LOSS_THREADS], losses[LOSS_THREADS], slopes[LOSS_THREADS];
    SHARED float greatest[LOSS_THREADS];
    SHARED int places[LOSS_THREADS];
    const int lanes = padded(classes), thread = threadIdx.x;
    const int label = static_cast<int>(labels[2 * blockIdx.x]), other = static_cast<int>(labels[2 * blockIdx.x + 1]);
    const double weight = weights[2 * blockIdx.x], rest = weights[2 * blockIdx.x + 1];
    const T *row = logits + static_cast<int64>(blockIdx.x) * lanes;
    float most = -INFINITY;
    int best = 0;
    for (int i = thread; i < classes; i += LOSS_THREADS) {
        const float logit = to_float(row[i]);
        // A NaN that is met stays, as nothing is above it.
        if (logit > most || logit != logit) {
            most = logit;
            best = i;
        }
    }
    greatest[thread] = most;
    places[thread] = best;
    __syncthreads();
    // Of equal logits the first counts.
    for (int i = 0; i < LOSS_THREADS; i++) {
        if (greatest[i] > most || greatest[i] != greatest[i] || (greatest[i] == most && places[i] < best)) {
            most = greatest[i];
            best = places[i];
        }
    }
    double sum = 0;
    for (int i = thread; i < classes; i += LOSS_THREADS) sum += exp(static_cast<double>(to_float(row[i])) - most);
    sums[thread] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < LOSS_THREADS; i++) sum += sums[i];
    if (thread == 0) outcomes[2 * blockIdx.x + 1] = best == label && most == most;
    T *target = gradients ? gradients + static_cast<int64>(blockIdx.x) * lanes : nullptr;
    if (!spread && gamma == 0) {
        if (thread == 0) {
            const double loss = weight * (log(sum) + most - to_float(row[label]));
            outcomes[2 * blockIdx.x] = rest > 0 ? loss + rest * (log(sum) + most - to_float(row[other])) : loss;
        }
        if (!target) return;
        for (int i = thread; i < lanes; i += LOSS_THREADS) {
            const double part = i < classes ? exp(static_cast<double>(to_float(row[i])) - most) * (share * (weight + rest) / sum) : 0;
            const double wanted = (i == label ? weight * share : 0) + (i == other ? rest * share : 0);
            round_to(static_cast<float>(part - wanted), &target[i]);
        }
        return;
    }
    const double log_sum = log(sum);
    double loss = 0, slope = 0;
    for (int i = thread; i < classes; i += LOSS_THREADS) {
        const double wanted = (spread ? spread[i] : 0) + (i == label ? weight : 0) + (i == other ? rest : 0);
        const Focused part = focused(wanted, static_cast<double>(to_float(row[i])) - most - log_sum, gamma);
        loss += part.loss;
        slope += part.slope;
    }
    losses[thread] = loss;
    slopes[thread] = slope;
    __syncthreads();
    loss = slope = 0;
    for (int i = 0; i < LOSS_THREADS; i++) {
        loss += losses[i];
        slope += slopes[i];
    }
    if (thread == 0) outcomes[2 * blockIdx.x] = loss;
    if (!target) return;
    for (int i = thread; i < lanes; i += LOSS_THREADS) {
        double gradient = 0;
        if (i < classes) {
            const double away = static_cast<double>(to_float(row[i])) - most;
            const double wanted = (spread ? spread[i] : 0) + (i == label ? weight : 0) + (i == other ? rest : 0);
            gradient = share * (focused(wanted, away - log_sum, gamma).slope - slope * (exp(away) / sum));
        }
        round_to(static_cast<float>(gradient), &target[i]);
    }
}

/// Sums of losses and of hits, by one block.
SYNCING_KERNEL(cross_entropy_sum)(int samples, const double *outcomes, double *total) {
    constexpr int LOSS_THREADS = NAME(LOSS_THREADS);
    SHARED double sums[LOSS_THREADS][2];
    double loss = 0, hits = 0;
    for (int i = threadIdx.x; i < samples; i += LOSS_THREADS) {
        loss += outcomes[2 * i];
        hits += outcomes[2 * i + 1];
    }
    sums[threadIdx.x][0] = loss;
    sums[threadIdx.x][1] = hits;
    __syncthreads();
    if (threadIdx.x >= 2) return;
    double sum = 0;
    for (int i = 0; i < LOSS_THREADS; i++) sum += sums[i][threadIdx.x];
    total[threadIdx.x] = sum;
}
