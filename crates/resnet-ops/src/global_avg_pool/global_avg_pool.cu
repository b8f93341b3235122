// Means of whole maps, an octet to a thread.

KERNEL(global_avg_pool_forward)(int64 total, int octets, int pixels, const T *x, T *y) {
    const int64 i = thread_index();
    if (i >= total) return;
    const int64 image = quotient(i, octets);
    const T *source = x + (image * pixels * octets + (i - image * octets)) * OCTET;
    Octet sum = {};
    const auto from = [&](int pixel) { return fetch(source + static_cast<int64>(pixel) * (octets * OCTET)); };
    stream<4>(0, pixels, 1, from, [&](int, const Octet &values) {
        for (int lane = 0; lane < OCTET; lane++) sum.lane[lane] += values.lane[lane];
    });
    for (float &value : sum.lane) value /= static_cast<float>(pixels);
    store(y + i * OCTET, sum);
}

KERNEL(global_avg_pool_backward)(int64 total, int octets, int pixels, const T *dy, bool accumulate, T *dx) {
    const int64 i = thread_index();
    if (i >= total) return;
    Octet sum = {};
    if (accumulate) sum = load(dx + i * OCTET);
    const int64 pixel = quotient(i, octets);
    const Octet gradients = load(dy + (quotient(pixel, pixels) * octets + (i - pixel * octets)) * OCTET);
    for (int lane = 0; lane < OCTET; lane++) sum.lane[lane] += gradients.lane[lane] / static_cast<float>(pixels);
    store(dx + i * OCTET, sum);
}
