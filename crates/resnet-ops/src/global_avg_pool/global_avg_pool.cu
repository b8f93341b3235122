// Means of whole maps, an octet to a thread.

KERNEL(global_avg_pool_forward)(int64 total, int octets, int pixels, const T *x, T *y) {
    const int64 i = thread_index();
    if (i >= total) return;
    Octet sum = {};
    for (int pixel = 0; pixel < pixels; pixel++) {
        const Octet values = load(x + ((i / octets * pixels + pixel) * octets + i % octets) * OCTET);
        for (int lane = 0; lane < OCTET; lane++) sum.lane[lane] += values.lane[lane];
    }
    for (float &value : sum.lane) value /= static_cast<float>(pixels);
    store(y + i * OCTET, sum);
}

KERNEL(global_avg_pool_backward)(int64 total, int octets, int pixels, const T *dy, bool accumulate, T *dx) {
    const int64 i = thread_index();
    if (i >= total) return;
    Octet sum = {};
    if (accumulate) sum = load(dx + i * OCTET);
    const Octet gradients = load(dy + (i / octets / pixels * octets + i % octets) * OCTET);
    for (int lane = 0; lane < OCTET; lane++) sum.lane[lane] += gradients.lane[lane] / static_cast<float>(pixels);
    store(dx + i * OCTET, sum);
}
