// An update of all parameters, one to a thread.

#include "cuda/update.cuh"

KERNEL(lion)(int64 len, float scale, float limit, float first, float rest, float second, float rest_kept, float lr, float shrink,
             const float *gradients, float *means, float *params, float *non_finite) {
    const int64 i = thread_index();
    if (i >= len) return;
    const float g = clipped(gradients[i], scale, limit);
    const float mean = first * means[i] + rest * g;
    const float step = mean > 0 ? lr : mean < 0 ? -lr : 0;
    // The last difference is 0, or NaN where the mean is not finite.
    params[i] = shrink * params[i] - step + (mean - mean);
    means[i] = second * means[i] + rest_kept * g;
    if (!is_finite(params[i])) *non_finite = 1;
}
