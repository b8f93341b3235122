// Sums of two maps, an octet to a thread.

KERNEL(add_forward)(int64 len, const T *a, const T *b, T *y, bool with_relu) {
    const int64 start = thread_index() * OCTET;
    if (start >= len) return;
    Octet sums = load_some(a, start, len);
    const Octet others = load_some(b, start, len);
    for (int lane = 0; lane < OCTET; lane++) {
        const float sum = sums.lane[lane] + others.lane[lane];
        sums.lane[lane] = with_relu ? relu(sum) : sum;
    }
    store_some(y, start, len, sums);
}

KERNEL(add_gradient)(int64 len, const T *source, T *target, bool accumulate) {
    const int64 start = thread_index() * OCTET;
    if (start >= len) return;
    Octet sums = load_some(source, start, len);
    if (accumulate) {
        const Octet before = load_some(target, start, len);
        for (int lane = 0; lane < OCTET; lane++) sums.lane[lane] += before.lane[lane];
    }
    store_some(target, start, len, sums);
}
