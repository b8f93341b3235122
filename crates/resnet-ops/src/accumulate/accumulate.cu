// A weighted sum in place, an element to a thread.

KERNEL(accumulate)(int64 len, float keep, float weight, const float *source, float *target) {
    const int64 i = thread_index();
    if (i >= len) return;
    const float kept = keep == 0 ? 0 : keep * target[i];
    target[i] = kept + weight * source[i];
}
