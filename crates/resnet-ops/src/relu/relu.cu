// ReLU and its gradient, an octet to a thread.

KERNEL(relu_forward)(int64 len, const T *x, T *y) {
    const int64 start = thread_index() * OCTET;
    if (start >= len) return;
    Octet values = load_some(x, start, len);
    for (float &value : values.lane) value = relu(value);
    store_some(y, start, len, values);
}

KERNEL(relu_backward)(int64 len, const T *y, T *dy) {
    const int64 start = thread_index() * OCTET;
    if (start >= len) return;
    const Octet outputs = load_some(y, start, len);
    Octet gradients = load_some(dy, start, len);
    for (int lane = 0; lane < OCTET; lane++) gradients.lane[lane] = outputs.lane[lane] > 0 ? gradients.lane[lane] : 0;
    store_some(dy, start, len, gradients);
}
