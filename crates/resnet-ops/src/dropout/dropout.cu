// Dropout, an octet to a thread. Which elements go is told by the hash of the op's definition.

INLINE uint64 NAME(mix)(uint64 bits) {
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ull;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebull;
    return bits ^ (bits >> 31);
}

/// Elements are numbered in (N, C, H, W) order, images in theirs from `first` on, if they are dropped as a whole. y may be x.
KERNEL(dropout)(int64 total, int64 first, int channels, int pixels, bool whole, uint64 seed, uint64 threshold, float scale, const T *x, T *y) {
    const int64 i = thread_index();
    if (i >= total) return;
    const int octets = padded(channels) / OCTET;
    const int64 pixel = i / octets;
    Octet values = load(x + i * OCTET);
    for (int lane = 0; lane < OCTET; lane++) {
        const int64 channel = i % octets * OCTET + lane;
        const int64 image = first + pixel / pixels;
        const uint64 index = whole ? image : (image * channels + channel) * pixels + pixel % pixels;
        const bool drops = NAME(mix)(seed + (index + 1) * 0x9e3779b97f4a7c15ull) < threshold;
        values.lane[lane] *= channel >= channels || drops ? 0 : scale;
    }
    store(y + i * OCTET, values);
}
