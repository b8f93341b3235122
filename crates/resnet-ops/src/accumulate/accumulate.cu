// A weighted sum in place, an element to a thread.

KERNEL(accumulate)(int64 len, float keep, float weight, const float *source, float *target) {
    const int64 i = thread_index();
    if (i >= len) return;
    // Without a sum where nothing is kept, so that a copy keeps the sign of zero.
    target[i] = keep == 0 ? weight * source[i] : keep * target[i] + weight * source[i];
}
