// The three passes of a fully connected layer. Features lie as octets, weights (out, in) in f32.

#include "linear/linear.cuh"

SYNCING_KERNEL(linear_forward)(int n, int in, int out, const T *x, const float *weights, const float *bias, T *y) {
    const Element at(padded(out));
    const float sum = product(
        at, in, [&](int row, int k) { return row < n ? to_float(x[static_cast<int64>(row) * padded(in) + k]) : 0; },
        [&](int k, int column) { return column < out ? weights[static_cast<int64>(column) * in + k] : 0; });
    if (at.row >= n || at.column >= padded(out)) return;
    // Beyond the features a NaN in the row would make one of zero weights.
    const float value = at.column >= out ? 0 : bias ? sum + bias[at.column] : sum;
    round_to(value, &y[static_cast<int64>(at.row) * padded(out) + at.column]);
}

SYNCING_KERNEL(linear_input_gradient)(int n, int in, int out, const T *dy, const float *weights, bool accumulate, T *dx) {
    const Element at(padded(in));
    const float sum = product(
        at, out, [&](int row, int k) { return row < n ? to_float(dy[static_cast<int64>(row) * padded(out) + k]) : 0; },
        [&](int k, int column) { return column < in ? weights[static_cast<int64>(k) * in + column] : 0; });
    if (at.row >= n || at.column >= padded(in)) return;
    T *place = dx + static_cast<int64>(at.row) * padded(in) + at.column;
    const float value = at.column < in ? sum : 0;
    round_to(accumulate ? to_float(*place) + value : value, place);
}

SYNCING_KERNEL(linear_weight_gradient)(int n, int in, int out, const T *x, const T *dy, float *gradients) {
    const Element at(in);
    const float sum = product(
        at, n, [&](int row, int k) { return row < out ? to_float(dy[static_cast<int64>(k) * padded(out) + row]) : 0; },
        [&](int k, int column) { return column < in ? to_float(x[static_cast<int64>(k) * padded(in) + column]) : 0; });
    if (at.row < out && at.column < in) gradients[static_cast<int64>(at.row) * in + at.column] = sum;
}
