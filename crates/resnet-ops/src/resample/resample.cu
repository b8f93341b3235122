// Batches of images that the GPU holds, resampled as they are gathered. These kernels have nothing to do with the type of activations.

#include "resample/resample.cuh"

KERNEL(resample_fixed_to_bytes)(int64 total, int per_image, int lines, int outputs, int line, const unsigned *windows,
        const int *weights, const unsigned *chosen, const unsigned char *source, unsigned char *target) {
    resample<Fixed>(total, per_image, lines, outputs, line, windows, weights, chosen, source, target);
}

KERNEL(resample_fixed)(int64 total, int per_image, int lines, int outputs, int line, const unsigned *windows,
        const int *weights, const unsigned *chosen, const unsigned char *source, float *target) {
    resample<Fixed>(total, per_image, lines, outputs, line, windows, weights, chosen, source, target);
}

KERNEL(resample_double)(int64 total, int per_image, int lines, int outputs, int line, const unsigned *windows,
        const double *weights, const unsigned *chosen, const float *source, float *target) {
    resample<Double>(total, per_image, lines, outputs, line, windows, weights, chosen, source, target);
}

KERNEL(resample_single)(int64 total, int per_image, int lines, int outputs, int line, const unsigned *windows,
        const float *weights, const unsigned *chosen, const float *source, float *target) {
    resample<Single>(total, per_image, lines, outputs, line, windows, weights, chosen, source, target);
}

KERNEL(resample_single_of_bytes)(int64 total, int per_image, int lines, int outputs, int line, const unsigned *windows,
        const float *weights, const unsigned *chosen, const unsigned char *source, float *target) {
    resample<Single>(total, per_image, lines, outputs, line, windows, weights, chosen, source, target);
}
