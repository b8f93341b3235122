// A moving average in place, an element to a thread.

KERNEL(average)(int64 len, float weight, const float *source, float *target) {
    const int64 i = thread_index();
    if (i >= len) return;
    target[i] = target[i] + weight * (source[i] - target[i]);
}
