// SiLU and its gradient, an octet to a thread.

INLINE float NAME(sigmoid)(float x) { return 1 / (1 + expf(-x)); }

KERNEL(silu_forward)(int64 len, const T *x, T *y) {
    const int64 start = thread_index() * OCTET;
    if (start >= len) return;
    Octet values = load_some(x, start, len);
    for (float &value : values.lane) value *= NAME(sigmoid)(value);
    store_some(y, start, len, values);
}

KERNEL(silu_backward)(int64 len, const T *x, T *dy) {
    const int64 start = thread_index() * OCTET;
    if (start >= len) return;
    const Octet inputs = load_some(x, start, len);
    Octet gradients = load_some(dy, start, len);
    for (int lane = 0; lane < OCTET; lane++) {
        const float input = inputs.lane[lane], sigmoid = NAME(sigmoid)(input);
        gradients.lane[lane] *= sigmoid * (1 + input * (1 - sigmoid));
    }
    store_some(dy, start, len, gradients);
}
