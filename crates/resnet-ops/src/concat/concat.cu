// Channels from one place in a pixel to another, one to a thread: octets seldom fall on octets.

/// Writes `width` lanes of each pixel from place `to` on: the source's from place `from` on, zeros after the first `real`.
KERNEL(concat_copy)(int64 total, int width, int real, int from, int source_lanes, int to, int target_lanes, bool accumulate,
                    const T *source, T *target) {
    const int64 i = thread_index();
    if (i >= total) return;
    const int64 pixel = quotient(i, width);
    const int lane = static_cast<int>(i - pixel * width);
    T *place = target + pixel * target_lanes + to + lane;
    const float value = lane < real ? to_float(source[pixel * source_lanes + from + lane]) : 0;
    round_to(accumulate ? to_float(*place) + value : value, place);
}
