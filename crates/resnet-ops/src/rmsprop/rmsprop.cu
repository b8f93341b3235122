// An update of all parameters, one to a thread.

#include "cuda/update.cuh"

KERNEL(rmsprop)(int64 len, float scale, float limit, float lr, float alpha, float rest, float eps, float momentum, float decay,
                const float *gradients, float *squares, float *updates, float *params, float *non_finite) {
    const int64 i = thread_index();
    if (i >= len) return;
    const float g = clipped(gradients[i], scale, limit) + decay * params[i];
    const float s = squares[i] = alpha * squares[i] + rest * g * g;
    float step = g / (sqrtf(s) + eps) + (s - s);
    if (updates) step = updates[i] = momentum * updates[i] + step;
    params[i] -= lr * step;
    if (!is_finite(params[i])) *non_finite = 1;
}
