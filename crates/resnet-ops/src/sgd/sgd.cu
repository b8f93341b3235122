// An update of all parameters, one to a thread.

KERNEL(sgd)(int64 len, float lr, float momentum, bool nesterov, float weight_decay, const float *gradients, float *velocity, float *params,
            float *non_finite) {
    const int64 i = thread_index();
    if (i >= len) return;
    const float gradient = gradients[i] + weight_decay * params[i];
    float step = gradient;
    if (velocity) {
        step = velocity[i] = momentum * velocity[i] + gradient;
        if (nesterov) step = gradient + momentum * step;
    }
    params[i] -= lr * step;
    if (!is_finite(params[i])) *non_finite = 1;
}
