// Images (N, C, H, W) in f32 to the layout of activations and back, an octet to a thread.

KERNEL(from_nchw)(int64 pixels, int plane, int channels, const float *source, T *target) {
    const int octets = padded(channels) / OCTET;
    const int64 i = thread_index(), pixel = quotient(i, octets);
    if (pixel >= pixels) return;
    const int first = static_cast<int>(i - pixel * octets) * OCTET;
    const int64 number = quotient(pixel, plane);
    const float *image = source + number * channels * plane + (pixel - number * plane);
    Octet values;
    for (int lane = 0; lane < OCTET; lane++) {
        const int channel = first + lane;
        values.lane[lane] = channel < channels ? image[static_cast<int64>(channel) * plane] : 0;
    }
    store(target + i * OCTET, values);
}

KERNEL(to_nchw)(int64 values, int plane, int channels, const T *source, float *target) {
    const int64 i = thread_index();
    if (i >= values) return;
    const int64 row = quotient(i, plane), image = quotient(row, channels);
    target[i] = to_float(source[(image * plane + (i - row * plane)) * padded(channels) + (row - image * channels)]);
}
