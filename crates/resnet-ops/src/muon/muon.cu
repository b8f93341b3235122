// Muon's passes over the parameters, and the products of its iteration.

#include "cuda/update.cuh"
#include "linear/linear.cuh"
#include "muon/muon.cuh"

KERNEL(muon_look_ahead)(int64 len, float scale, float limit, float momentum, bool nesterov, int64 across, const float *gradients,
                        float *velocity, float *x) {
    const int64 i = thread_index();
    if (i >= len) return;
    const float g = clipped(gradients[i], scale, limit);
    const float v = velocity[i] = momentum * velocity[i] + g;
    x[transposed_place(i, across, len)] = nesterov ? g + momentum * v : v;
}

/// keep·before + weight·a·b; b is given as its transpose if `transposed`.
SYNCING_KERNEL(muon_product)(int rows, int depth, int columns, bool transposed, float keep, float weight, const float *a, const float *b,
                             const float *before, float *target) {
    const Element at(columns);
    const float sum = product(
        at, depth, [&](int row, int k) { return row < rows ? a[static_cast<int64>(row) * depth + k] : 0; },
        [&](int k, int column) {
            if (column >= columns) return 0.0f;
            return transposed ? b[static_cast<int64>(column) * depth + k] : b[static_cast<int64>(k) * columns + column];
        });
    if (at.row >= rows || at.column >= columns) return;
    const int64 place = static_cast<int64>(at.row) * columns + at.column;
    target[place] = (before ? keep * before[place] : 0) + weight * sum;
}

KERNEL(muon_move)(int64 len, float shrink, float size, int64 across, const float *o, float *params, float *non_finite) {
    const int64 i = thread_index();
    if (i >= len) return;
    params[i] = shrink * params[i] - size * o[transposed_place(i, across, len)];
    if (!is_finite(params[i])) *non_finite = 1;
}
