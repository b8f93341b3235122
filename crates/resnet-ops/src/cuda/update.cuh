// What the kernels that update parameters share.
#pragma once

/// scale·gradient, brought into −limit..limit; NaN stays NaN.
INLINE float clipped(float gradient, float scale, float limit) {
    const float scaled = scale * gradient;
    return scaled > limit ? limit : scaled < -limit ? -limit : scaled;
}
