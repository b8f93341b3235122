// Images (N, C, H, W) in f32 to the layout of activations and back, an octet to a thread.

KERNEL(from_nchw)(int64 pixels, int plane, int channels, const float *source, T *target) {
    const int octets = padded(channels) / OCTET;
    const int64 pixel = thread_index() / octets;
    if (pixel >= pixels) return;
    const int octet = static_cast<int>(thread_index() % octets);
    const float *image = source + pixel / plane * channels * plane + pixel % plane;
    Octet values;
    for (int lane = 0; lane < OCTET; lane++) {
        const int channel = octet * OCTET + lane;
        values.lane[lane] = channel < channels ? image[static_cast<int64>(channel) * plane] : 0;
    }
    store(target + thread_index() * OCTET, values);
}

KERNEL(to_nchw)(int64 values, int plane, int channels, const T *source, float *target) {
    const int64 i = thread_index();
    if (i >= values) return;
    const int64 image = i / plane / channels;
    const int channel = static_cast<int>(i / plane % channels);
    target[i] = to_float(source[(image * plane + i % plane) * padded(channels) + channel]);
}
