// An update of all parameters, one to a thread.

#include "cuda/update.cuh"

KERNEL(sgd)(int64 len, float scale, float limit, float lr, float momentum, float taken, bool nesterov, float weight_decay,
            const float *gradients, float *velocity, float *params, float *non_finite) {
    const int64 i = thread_index();
    if (i >= len) return;
    const float gradient = clipped(gradients[i], scale, limit) + weight_decay * params[i];
    float step = gradient;
    if (velocity) {
        step = velocity[i] = momentum * velocity[i] + taken * gradient;
        if (nesterov) step = gradient + momentum * step;
    }
    params[i] -= lr * step;
    if (!is_finite(params[i])) *non_finite = 1;
}
