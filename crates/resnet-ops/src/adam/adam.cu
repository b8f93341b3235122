// An update of all parameters, one to a thread.

#include "cuda/update.cuh"

KERNEL(adam)(int64 len, float scale, float limit, float first, float rest, float second, float rest_of_squares, float size,
             float correction, float eps, float shrink, float coupled, const float *gradients, float *means, float *squares, float *params,
             float *non_finite) {
    const int64 i = thread_index();
    if (i >= len) return;
    const float before = shrink * params[i];
    const float g = clipped(gradients[i], scale, limit) + coupled * before;
    const float m = means[i] = first * means[i] + rest * g;
    const float v = squares[i] = second * squares[i] + rest_of_squares * g * g;
    params[i] = before - size * m / (sqrtf(v) / correction + eps) + (v - v);
    if (!is_finite(params[i])) *non_finite = 1;
}
